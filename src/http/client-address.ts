import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Hops of X-Forwarded-For that are looked at: more proxies than anyone has in a row. */
const MAX_HOPS = 32;

/** What all are called whose connection has no address: the one at the other end of a Unix socket. */
export const UNKNOWN_ADDRESS = 'unknown';

/**
 * Says which client a request came from. Trusts X-Forwarded-For as far as trusted proxies wrote it: from its right end,
 * each hop that is a trusted proxy vouches for the one before it. What anyone else wrote into it changes nothing.
 * @param trustedProxies addresses and networks (CIDR), well-formed
 */
export function createClientAddress(trustedProxies: readonly string[]) {
  const networks = trustedProxies.map(parseNetwork);
  const isTrusted = (address: Address): boolean =>
    networks.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits));

  return (peer: string | undefined, forwardedFor: string | undefined): string => {
    let client = peer === undefined ? undefined : parseAddress(peer);
    if (client === undefined) return UNKNOWN_ADDRESS;
    const hops = forwardedFor?.split(',').slice(-MAX_HOPS) ?? [];
    while (isTrusted(client)) {
      const hop = parseAddress(hops.pop() ?? '');
      if (hop === undefined) break;
      client = hop;
    }
    return client.toString();
  };
}

/** A network, or an address as a network of one. */
function parseNetwork(text: string): [Address, number] {
  if (text.includes('/')) return ipaddr.parseCIDR(text);
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/**
 * An address, with the port that some proxies put to it left out; an IPv4 address mapped into IPv6 as itself.
 * Undefined for what is none.
 */
function parseAddress(text: string): Address | undefined {
  const [bare = ''] = text
    .trim()
    .replace(/^\[([^\]]*)\](:\d+)?$/, '$1')
    .replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1')
    .split('%', 1);
  if (!ipaddr.IPv4.isValidFourPartDecimal(bare) && !ipaddr.IPv6.isValid(bare)) return undefined;
  return ipaddr.process(bare);
}
