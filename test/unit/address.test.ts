import { describe, expect, test } from 'vitest';
import { blockOf, neighbourhoodOf, subscriberOf } from '../../src/domain/rate-limit/address.ts';

describe('an address', () => {
  test.each([
    ['198.51.100.7', '198.51.100.7/32', '198.51.100.0/24', undefined],
    ['2001:db8:1:2:3::4', '2001:db8:1:2::/64', '2001:db8:1:2::/64', '2001:db8:1::/48'],
    ['unknown', 'unknown', 'unknown', undefined],
    // IPv4 in the form of IPv6: mapped, and behind a NAT64.
    ['::ffff:198.51.100.7', '198.51.100.7/32', '198.51.100.0/24', undefined],
    ['64:ff9b::198.51.100.7', '198.51.100.7/32', '198.51.100.0/24', undefined],
    // In a NAT64 prefix of one's own (RFC 8215), the place of the IPv4 address is not known.
    ['64:ff9b:1::198.51.100.7', '64:ff9b:1::/64', '64:ff9b:1::/64', '64:ff9b:1::/48'],
  ])('%s is of the subscriber %s, the block %s, the neighbourhood %s', (address, subscriber, block, neighbourhood) => {
    expect(subscriberOf(address)).toBe(subscriber);
    expect(blockOf(address)).toBe(block);
    expect(neighbourhoodOf(address)).toBe(neighbourhood);
  });
});
