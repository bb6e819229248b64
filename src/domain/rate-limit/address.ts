import ipaddr from 'ipaddr.js';

/** The leading bits that identify one subscriber, and those that identify a block of neighbours. */
const SUBSCRIBER_BITS = { ipv4: 32, ipv6: 64 } as const;
const BLOCK_BITS = { ipv4: 24, ipv6: 64 } as const;

/** The well-known prefix of NAT64 (RFC 6052): the last four bytes are an IPv4 address. */
const NAT64 = ipaddr.parseCIDR('64:ff9b::/96');

/** The subscriber of an address: the address itself in IPv4, its /64 in IPv6 (one machine may use any of it, RFC 8981). */
export const subscriberOf = (address: string): string => network(address, SUBSCRIBER_BITS);

/** The block of an address: its /24 in IPv4, its /64 in IPv6. */
export const blockOf = (address: string): string => network(address, BLOCK_BITS);

/**
 * What a whole IPv6 neighbourhood has of a budget, as a multiple of what one block has: one customer may have a /48
 * (RFC 6177), which is 65,536 blocks.
 */
export const NEIGHBOURHOOD = 4;

/** The neighbourhood of an address: its /48 in IPv6. In IPv4 it has none. */
export function neighbourhoodOf(address: string): string | undefined {
  const isIpv6 = ipaddr.isValid(address) && parse(address).kind() === 'ipv6';
  return isIpv6 ? network(address, { ipv4: 0, ipv6: 48 }) : undefined;
}

/** Text that is no Internet address stands for itself. */
function network(address: string, bits: { readonly ipv4: number; readonly ipv6: number }): string {
  if (!ipaddr.isValid(address)) return address;
  const parsed = parse(address);
  const length = bits[parsed.kind()];
  const kept = parsed
    .toByteArray()
    .map((byte, index) => byte & (0xff << Math.min(8, Math.max(0, 8 * index + 8 - length))));
  return `${ipaddr.fromByteArray(kept).toString()}/${length}`;
}

/** An IPv4 address in the form of IPv6, mapped or behind a NAT64, is that IPv4 address. */
function parse(address: string): ipaddr.IPv4 | ipaddr.IPv6 {
  const parsed = ipaddr.process(address);
  const isNat64 = parsed instanceof ipaddr.IPv6 && parsed.match(NAT64);
  return isNat64 ? new ipaddr.IPv4(parsed.toByteArray().slice(12)) : parsed;
}
