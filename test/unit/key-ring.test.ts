import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { calculateJwkThumbprint, createLocalJWKSet, jwtVerify, SignJWT } from 'jose';
import { afterAll, describe, expect, test } from 'vitest';
import type { AccessClaims } from '../../src/domain/session/schema.ts';
import { createAccessTokens } from '../../src/platform/access-token.ts';
import type { KeyAlgorithm, SigningJwk } from '../../src/platform/key-ring.ts';
import { KEY_ALGORITHMS, KeyError, keyRingOfSecret, makeJwk, parseKeySet } from '../../src/platform/key-ring.ts';
import type { KeyRings } from '../../src/platform/key-rings.ts';
import { openKeyRings } from '../../src/platform/key-rings.ts';
import { isReference, readPlainSecret, SecretUnavailableError } from '../../src/platform/secrets.ts';
import { readFileSecret } from '../../src/platform/secrets-file.ts';
import { until } from '../support/deadline.ts';
import { REPOSITORY } from '../support/install.ts';
import { runToEnd } from '../support/process.ts';

const directory = mkdtempSync(join(tmpdir(), 'tenantry-keys-'));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const CLAIMS: Omit<AccessClaims, 'jti' | 'exp'> = {
  admin_id: 'admin',
  admin_email: 'admin@example.com',
  email_verified: true,
  organization: 'TestCo',
  org_id: 'organization',
  role: 'owner',
  epoch: 2,
  auth_time: 1,
  sid: 'session',
};

const setOf = (...keys: unknown[]): string => JSON.stringify({ keys });
const ringsOf = (set: string) => openKeyRings(set, readPlainSecret, () => {});

const accessTokens = (keys: KeyRings) =>
  createAccessTokens({
    keys,
    issuer: 'tenantry',
    audience: 'tenantry',
    lifetimeSeconds: 60,
    clock: () => new Date(),
    newId: () => crypto.randomUUID(),
  });

/** The same, with `issue` giving the token alone. */
const tokensOf = (keys: KeyRings) => {
  const tokens = accessTokens(keys);
  return { ...tokens, issue: async (claims: typeof CLAIMS) => (await tokens.issue(claims)).token };
};

/** The key as another library takes it. */
const joseKey = ({ k, ...rest }: SigningJwk) =>
  k === undefined ? createLocalJWKSet({ keys: [withoutPrivate(rest)] }) : Buffer.from(k, 'base64url');

const withoutPrivate = ({ kid, alg, kty, ...rest }: Record<string, string | undefined>) => {
  const { d: _, ...published } = rest;
  return { ...published, kid: String(kid), alg: String(alg), kty: String(kty) };
};

describe.each(KEY_ALGORITHMS)('%s', (algorithm) => {
  test('signs tokens that verify here and by another library', async () => {
    const jwk = await makeJwk(algorithm);
    const tokens = tokensOf(await ringsOf(setOf(jwk)));
    const token = await tokens.issue(CLAIMS);
    expect(await tokens.verify(token)).toMatchObject(CLAIMS);

    const key = joseKey(jwk);
    const options = { algorithms: [algorithm], issuer: 'tenantry', audience: 'tenantry' };
    const { payload, protectedHeader } =
      typeof key === 'function' ? await jwtVerify(token, key, options) : await jwtVerify(token, key, options);
    expect(payload).toMatchObject(CLAIMS);
    expect(protectedHeader).toEqual({ alg: algorithm, typ: 'JWT', kid: jwk.kid });
  });

  test('publishes what verifies, and nothing that signs', async () => {
    const jwk = await makeJwk(algorithm);
    const published = await tokensOf(await ringsOf(setOf(jwk))).publicKeys();
    if (algorithm.startsWith('HS')) expect(published).toEqual([]);
    else expect(published).toEqual([{ ...withoutPrivate(jwk), use: 'sig' }]);
  });

  test('verifies no token that another key or algorithm signed under its name', async () => {
    const jwk = await makeJwk(algorithm);
    const tokens = tokensOf(await ringsOf(setOf(jwk)));
    const [, payload = ''] = (await tokens.issue(CLAIMS)).split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const own = jwk['k'] === undefined ? jwk : Buffer.from(jwk['k'], 'base64url');
    const signed = (header: object) =>
      new SignJWT(claims).setProtectedHeader({ alg: algorithm, ...header }).sign(own as never);
    expect(await tokens.verify(await signed({ kid: jwk.kid }))).toMatchObject(CLAIMS);
    for (const kid of [undefined, '', `${jwk.kid}x`, 'constructor', ['a'], { $ne: null }]) {
      expect(await tokens.verify(await signed({ kid }))).toBeUndefined();
    }
    for (const other of KEY_ALGORITHMS) {
      const forger = await makeJwk(other);
      for (const alg of KEY_ALGORITHMS.filter((name) => name.startsWith('HS') === other.startsWith('HS'))) {
        const secret = forger['k'] === undefined ? undefined : Buffer.from(forger['k'], 'base64url');
        if (secret === undefined && alg !== other) continue;
        const token = await new SignJWT(claims)
          .setProtectedHeader({ alg, kid: jwk.kid })
          .sign(secret ?? (forger as never));
        expect(await tokens.verify(token), `${alg} for ${algorithm}`).toBeUndefined();
      }
    }
    // The public key as the secret of an HMAC: what a verifier falls for that believes the header.
    const x = jwk['x'] ?? '';
    for (const text of [JSON.stringify(withoutPrivate(jwk)), x, Buffer.from(x, 'base64url')]) {
      if (text.length < 8) continue;
      const token = await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', kid: jwk.kid })
        .sign(Buffer.from(text as string));
      if (algorithm !== 'HS256') expect(await tokens.verify(token)).toBeUndefined();
    }
  });
});

test('a token ends when its lifetime does, or when its claims say so if that is earlier', async () => {
  const tokens = accessTokens(await ringsOf(setOf(await makeJwk('HS256'))));
  const now = Math.floor(Date.now() / 1000);
  const full = await tokens.issue(CLAIMS);
  expect(full.expiresIn).toBe(60);
  const shorter = await tokens.issue({ ...CLAIMS, exp: now + 30 });
  expect((await tokens.verify(shorter.token))?.exp).toBe(now + 30);
  expect(shorter.expiresIn).toBeLessThanOrEqual(30);
  const longer = await tokens.issue({ ...CLAIMS, exp: now + 3600 });
  expect(longer.expiresIn).toBe(60);
});

describe('JWT_SECRET', () => {
  const pem = (type: 'ed25519' | 'P-256' | 'P-384'): string => {
    const { privateKey } =
      type === 'ed25519' ? generateKeyPairSync(type) : generateKeyPairSync('ec', { namedCurve: type });
    return String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  };

  test.each(['HS256', 'HS384', 'HS512'] as const)('is a secret of %s with 32 bytes or more', async (algorithm) => {
    const { current } = await keyRingOfSecret('é'.repeat(16), algorithm);
    expect(current.algorithm).toBe(algorithm);
    await expect(keyRingOfSecret('x'.repeat(31), algorithm)).rejects.toThrow(/at least 32 bytes.*openssl rand/);
  });

  test.each([
    ['ES256', 'P-256'],
    ['EdDSA', 'ed25519'],
  ] as const)('is a private key of %s as PEM, written in one line too, or JWK', async (algorithm, type) => {
    const text = pem(type);
    const { current } = await keyRingOfSecret(text, algorithm);
    expect((await keyRingOfSecret(text.replaceAll('\n', '\\n'), algorithm)).current.kid).toBe(current.kid);
    expect((await keyRingOfSecret(JSON.stringify(current.signing), algorithm)).current.kid).toBe(current.kid);
    expect(current.kid).toBe(
      await calculateJwkThumbprint({ ...current.published, kty: String(current.published?.['kty']) }),
    );
  });

  test('of another kind than the algorithm’s is refused, with how to make one and without itself', async () => {
    const secret = randomBytes(48).toString('base64');
    const wrong: [string, KeyAlgorithm][] = [
      [secret, 'ES256'],
      [secret, 'EdDSA'],
      [pem('P-384'), 'ES256'],
      [pem('ed25519'), 'ES256'],
      [pem('P-256'), 'EdDSA'],
      [JSON.stringify(await makeJwk('EdDSA')), 'ES256'],
      [JSON.stringify({ ...(await makeJwk('ES256')), d: undefined }), 'ES256'],
      ['{', 'ES256'],
    ];
    for (const [text, algorithm] of wrong) {
      const error = await keyRingOfSecret(text, algorithm).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(KeyError);
      expect(String(error)).toMatch(/Make one with: openssl/);
      if (text.length > 1) expect(String(error)).not.toContain(text.slice(0, 60));
    }
  });

  test('gives its key a name that stays, and that tells nothing', async () => {
    const secret = randomBytes(48).toString('base64');
    const kid = async (text: string) => (await keyRingOfSecret(text, 'HS256')).current.kid;
    expect(await kid(secret)).toBe(await kid(secret));
    expect(await kid(secret)).not.toBe(await kid(`${secret}x`));
    expect(secret).not.toContain(await kid(secret));
  });
});

describe('JWT_KEYS', () => {
  test('that cannot be used say which key it is and why, and no value', async () => {
    const [hmac, ec, ed] = [await makeJwk('HS256'), await makeJwk('ES256'), await makeJwk('EdDSA')];
    const other = await makeJwk('ES256');
    const wrong: Record<string, [string, RegExp]> = {
      'no JSON': ['not json', /is no JSON/],
      'no set': [JSON.stringify(hmac), /is no JSON/],
      'an empty set': [setOf(), /1 to 32 keys/],
      'too many': [setOf(...Array.from({ length: 33 }, () => hmac)), /1 to 32 keys/],
      'a key that is none': [setOf(null), /number 1/],
      'a short secret': [
        setOf({ ...hmac, k: randomBytes(31).toString('base64url') }),
        /number 1.* k has at least 32 bytes/,
      ],
      'a secret that is no base64url': [setOf({ ...hmac, k: `${'+'.repeat(64)}` }), /k is base64url/],
      'no alg': [setOf(ec, { ...ec, kid: 'x', alg: undefined }), /number 2.* alg is ES256/],
      'the alg of another kind': [setOf({ ...ec, alg: 'HS256' }), /alg is ES256/],
      'alg none': [setOf({ ...hmac, alg: 'none' }), /alg is HS256/],
      RSA: [setOf({ kty: 'RSA', alg: 'RS256', n: 'x', e: 'AQAB' }), /kty is "oct", "EC" or "OKP"/],
      'another curve': [setOf({ ...ec, crv: 'P-384' }), /crv is P-256/],
      X25519: [setOf({ ...ed, crv: 'X25519' }), /crv is Ed25519/],
      'a key to encrypt with': [setOf({ ...ec, use: 'enc' }), /use is "sig"/],
      'one kid twice': [setOf(ec, { ...other, kid: ec.kid }), /number 2, whose kid another one has/],
      'a first key without its private part': [setOf({ ...ec, d: undefined }, other), /cannot sign/],
      'the private part of another key': [setOf({ ...ec, d: other['d'] }), /parts do not fit/],
      'a point that is on no curve': [setOf({ ...ec, x: ec['y'], d: undefined }), /parts do not fit/],
      'a kid of control characters': [setOf({ ...ec, kid: 'a\nb' }), /kid is 1 to 128/],
    };
    for (const [what, [text, message]] of Object.entries(wrong)) {
      const error = await parseKeySet(text).catch((reason: unknown) => reason);
      expect(error, what).toBeInstanceOf(KeyError);
      expect(String(error), what).toMatch(message);
      for (const secret of [hmac['k'], ec['d'], ed['d'], other['d']]) expect(String(error)).not.toContain(secret);
    }
  });

  test('sign with the first and verify with all, also with one that has no private part', async () => {
    const [old, next] = [await makeJwk('ES256'), await makeJwk('HS512')];
    const before = await tokensOf(await ringsOf(setOf(old))).issue(CLAIMS);
    const rotated = tokensOf(await ringsOf(setOf(next, withoutPrivate(old))));
    expect(await rotated.verify(before)).toMatchObject(CLAIMS);
    const after = await rotated.issue(CLAIMS);
    expect(await rotated.verify(after)).toMatchObject(CLAIMS);
    expect(await tokensOf(await ringsOf(setOf(old))).verify(after)).toBeUndefined();
    expect(await tokensOf(await ringsOf(setOf(next))).verify(before)).toBeUndefined();
  });

  test('in a file rotate while they are used, and a file that cannot be used changes nothing', async () => {
    const [one, two] = [await makeJwk('HS256'), await makeJwk('EdDSA')];
    const path = join(directory, 'rotated.json');
    const write = (text: string) => {
      writeFileSync(`${path}.new`, text);
      renameSync(`${path}.new`, path);
    };
    write(setOf(one));
    const events: string[] = [];
    const tokens = tokensOf(await openKeyRings(`file:${path}`, readFileSecret, (_, event) => events.push(event)));
    const first = await tokens.issue(CLAIMS);

    // A token of a key that was added this very moment, by another instance.
    write(setOf(two, one));
    const second = await tokensOf(await ringsOf(setOf(two, one))).issue(CLAIMS);
    expect(await tokens.verify(second)).toMatchObject(CLAIMS);
    expect(await tokens.verify(first)).toMatchObject(CLAIMS);

    for (const unusable of ['', '{', setOf(), setOf({ ...one, k: 'short' })]) {
      write(unusable);
      const stranger = await tokensOf(await ringsOf(setOf(await makeJwk('HS256')))).issue(CLAIMS);
      expect(await tokens.verify(stranger)).toBeUndefined();
      expect(await tokens.verify(second)).toMatchObject(CLAIMS);
    }
    rmSync(path);
    expect(await tokens.verify(first)).toMatchObject(CLAIMS);
    expect(events).toContain('keys.not_usable');

    write(setOf(two));
    const removedAt = performance.now();
    await until(
      'the removed key to stop',
      async () => ((await tokens.verify(first)) === undefined ? true : undefined),
      {
        ms: 1000,
        every: 10,
      },
    );
    expect(performance.now() - removedAt).toBeLessThan(1000);
    expect(await tokens.verify(second)).toMatchObject(CLAIMS);
  });

  test('are made, and added to, by a command', async () => {
    const path = join(directory, 'made.json');
    const key = (...args: string[]) => runToEnd(process.execPath, [join(REPOSITORY, 'src/entry/make-key.ts'), ...args]);
    writeFileSync(path, await key('ES256'));
    const added = await key('HS256', path);
    const ring = await parseKeySet(added);
    expect([...ring.keys.values()].map(({ algorithm }) => algorithm)).toEqual(['HS256', 'ES256']);
    await expect(key('RS256')).rejects.toThrow(/ALGORITHM is HS256/);
  });
});

describe.each([
  ['the environment', readPlainSecret],
  ['files', readFileSecret],
])('secrets from %s', (_, readSecret) => {
  test('a value that refers to nothing is the secret itself', async () => {
    for (const value of ['a secret', '{"keys":[]}', '/run/secrets/x']) {
      expect(isReference(value)).toBe(false);
      expect(await readSecret(value)).toBe(value);
    }
  });

  test('a reference that leads nowhere is refused, without a word of the system’s', async () => {
    const error = await readSecret(`file:${join(directory, 'nowhere')}`).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SecretUnavailableError);
    expect(String(error)).not.toContain(directory);
  });
});
