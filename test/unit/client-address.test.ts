import { describe, expect, test } from 'vitest';
import { createClientAddress, UNKNOWN_ADDRESS } from '../../src/http/client-address.ts';

const addressOf = createClientAddress(['10.0.0.0/8', '192.0.2.1', '2001:db8:aaaa::/48', '::1']);

describe('the address of a client', () => {
  test.each([
    ['nobody trusted', '198.51.100.1', '8.8.8.8', '198.51.100.1'],
    ['one trusted proxy', '10.0.0.1', '8.8.8.8', '8.8.8.8'],
    ['one trusted proxy, and what the client made up', '10.0.0.1', '1.1.1.1, 8.8.8.8', '8.8.8.8'],
    ['trusted proxies in a row', '10.0.0.1', '1.1.1.1, 8.8.8.8, 2001:db8:aaaa::7, 192.0.2.1', '8.8.8.8'],
    ['an untrusted proxy between trusted ones', '10.0.0.1', '8.8.8.8, 9.9.9.9, 10.0.0.2', '9.9.9.9'],
    ['trusted proxies alone', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['a proxy that says nothing', '10.0.0.1', undefined, '10.0.0.1'],
    ['a proxy that says nonsense', '10.0.0.1', '8.8.8.8, nonsense', '10.0.0.1'],
    ['a proxy that says nothing after a comma', '10.0.0.1', '8.8.8.8,', '10.0.0.1'],
    ['an address with a port', '10.0.0.1', '8.8.8.8:1234', '8.8.8.8'],
    ['an IPv6 address with a port', '10.0.0.1', '[2001:db8::1]:1234', '2001:db8::1'],
    ['an IPv6 address in brackets', '10.0.0.1', '[2001:DB8:0:0::1]', '2001:db8::1'],
    ['an IPv4 address mapped into IPv6', '::ffff:198.51.100.1', '8.8.8.8', '198.51.100.1'],
    ['a trusted proxy mapped into IPv6', '::ffff:10.0.0.1', '::ffff:8.8.8.8', '8.8.8.8'],
    ['a link-local peer', 'fe80::1%eth0', undefined, 'fe80::1'],
    ['the loopback address of IPv6', '::1', '8.8.8.8', '8.8.8.8'],
    ['an octal address', '10.0.0.1', '010.010.010.010', '10.0.0.1'],
    ['a number for an address', '10.0.0.1', '134744072', '10.0.0.1'],
    ['a peer without an address', undefined, '8.8.8.8', UNKNOWN_ADDRESS],
    ['a peer of a Unix socket', '', '8.8.8.8', UNKNOWN_ADDRESS],
  ])('with %s', (_, peer, forwardedFor, expected) => {
    expect(addressOf(peer, forwardedFor)).toBe(expected);
  });

  test('is found among any number of hops, by looking at a bounded number of them', () => {
    const hops = `${'8.8.8.8, '.repeat(100_000)}10.0.0.2`;
    expect(addressOf('10.0.0.1', hops)).toBe('8.8.8.8');
    expect(addressOf('10.0.0.1', '10.0.0.2, '.repeat(100_000))).toBe('10.0.0.1');
  });

  test('is the peer’s when no proxy is trusted', () => {
    expect(createClientAddress([])('10.0.0.1', '8.8.8.8')).toBe('10.0.0.1');
  });
});
