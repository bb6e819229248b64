import ipaddr from 'ipaddr.js';

/** The bits of an address that one subscriber can be told apart by, and those that a neighbourhood shares. */
const SUBSCRIBER_BITS = { ipv4: 32, ipv6: 64 } as const;
const BLOCK_BITS = { ipv4: 24, ipv6: 64 } as const;

/** Whose address it is: itself in IPv4, its /64 in IPv6, of which one machine may use any at any time (RFC 8981). */
export const subscriberOf = (address: string): string => network(address, SUBSCRIBER_BITS);

/** The block that it is in: /24 in IPv4, /64 in IPv6. */
export const blockOf = (address: string): string => network(address, BLOCK_BITS);

/** Those who come by no address of the Internet share what they are called by. */
function network(address: string, bits: { readonly ipv4: number; readonly ipv6: number }): string {
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  const length = bits[parsed.kind()];
  const kept = parsed
    .toByteArray()
    .map((byte, index) => byte & (0xff << Math.min(8, Math.max(0, 8 * index + 8 - length))));
  return `${ipaddr.fromByteArray(kept).toString()}/${length}`;
}
