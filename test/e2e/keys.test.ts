import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRemoteJWKSet, jwtVerify, SignJWT } from 'jose';
import { afterAll, describe, expect, test } from 'vitest';
import type { SigningJwk } from '../../src/platform/key-ring.ts';
import { KEY_ALGORITHMS, makeJwk } from '../../src/platform/key-ring.ts';
import type { Caller } from '../support/caller.ts';
import { createCaller } from '../support/caller.ts';
import { expectProblem } from '../support/problem.ts';
import { startService } from '../support/service.ts';
import { claimsOf, headerOf, signToken } from '../support/token.ts';

const directory = mkdtempSync(join(tmpdir(), 'tenantry-rotation-'));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const RUNTIMES = ['node', 'bun', 'workerd'] as const;

const me = (caller: Caller, token: string) => caller.request('GET', '/admin/me', { token });

/** Tokens of HS256 under the public key as whatever text or bytes a verifier might take for a secret. */
function confusions(token: string, jwk: Record<string, string>): string[] {
  const key = createPublicKey({ key: jwk as never, format: 'jwk' });
  const header = { ...headerOf(token), alg: 'HS256' };
  return [
    String(key.export({ type: 'spki', format: 'pem' })),
    key.export({ type: 'spki', format: 'der' }).toString('latin1'),
    JSON.stringify(jwk),
    jwk['x'] ?? '',
    '',
  ].map((secret) => signToken(header, claimsOf(token), secret));
}

describe.each(RUNTIMES)('on %s', (runtime) => {
  test.each([
    ['ES256', 'a key of JWT_KEYS'],
    ['EdDSA', 'JWT_SECRET as PEM'],
  ] as const)('tokens of %s, by %s, are checked by anyone with the published keys', async (algorithm, by) => {
    const old = await makeJwk('HS256');
    const env =
      by === 'JWT_SECRET as PEM'
        ? { JWT_ALGORITHM: algorithm, JWT_SECRET: pemInOneLine() }
        : { JWT_KEYS: JSON.stringify({ keys: [await makeJwk(algorithm), old] }) };
    const service = await startService({ runtime, store: { kind: 'embedded' }, env });
    try {
      const caller = createCaller(service.url);
      const { token, adminId } = await caller.signedInTenant();
      expect((await me(caller, token)).status).toBe(200);

      const jwks = createRemoteJWKSet(new URL('/.well-known/jwks.json', service.url));
      const { payload } = await jwtVerify(token, jwks, {
        algorithms: [algorithm],
        issuer: 'tenantry',
        audience: 'tenantry',
      });
      expect(payload.sub).toBe(adminId);

      const { headers, json } = await caller.request('GET', '/.well-known/jwks.json');
      expect(headers.get('Cache-Control')).toBe('public, max-age=300');
      expect(json.keys).toHaveLength(1);
      expect(json.keys[0]).not.toHaveProperty('d');
      for (const forged of confusions(token, json.keys[0]))
        expectProblem(await me(caller, forged), 401, 'invalid_token');

      // The other key of the set verifies, by its own algorithm.
      const secret = Buffer.from(old['k'] ?? '', 'base64url');
      const signed = await new SignJWT({ ...claimsOf(token) })
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: old.kid })
        .sign(secret);
      expect((await me(caller, signed)).status).toBe(by === 'JWT_SECRET as PEM' ? 401 : 200);
    } finally {
      await service.stop();
    }
  });
});

const pemInOneLine = (): string =>
  String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })).replaceAll('\n', '\\n');

const LOAD_MS = 6000;
const ROTATE_MS = 400;
/** Keys of the set: the one that signs, and those that tokens may still be of. */
const KEPT = 3;
/** Within this a removed key has stopped. */
const STOP_MS = 1000;
const CALLERS = 4;

describe.each(['node', 'bun'] as const)('on %s', (runtime) => {
  test('keys rotate under load: no valid token is refused, and none of a removed key is accepted', async () => {
    const path = join(directory, `${runtime}.json`);
    let keys: SigningJwk[] = [];
    const removedAt = new Map<unknown, number>();
    const rotate = async (round: number) => {
      const next = await makeJwk(KEY_ALGORITHMS[round % KEY_ALGORITHMS.length] ?? 'HS256');
      const removed = keys.slice(KEPT - 1);
      keys = [next, ...keys.slice(0, KEPT - 1)];
      // Taken as removed from before the write on, as added only after it.
      for (const { kid } of removed) removedAt.set(kid, performance.now());
      writeFileSync(`${path}.new`, JSON.stringify({ keys }));
      renameSync(`${path}.new`, path);
    };
    await rotate(0);
    const service = await startService({ runtime, store: { kind: 'embedded' }, env: { JWT_KEYS: `file:${path}` } });
    try {
      const caller = createCaller(service.url);
      const tenant = await caller.tenant();
      const seen = { good: 0, ended: 0 };
      const kids = new Set<unknown>();
      const endAt = performance.now() + LOAD_MS;

      const use = async () => {
        let tokens = (await caller.login(tenant)).json;
        const old: string[] = [];
        while (performance.now() < endAt) {
          for (const token of [tokens.access_token, tokens.access_token, old[Math.floor(Math.random() * old.length)]]) {
            if (token !== undefined) await check(token);
          }
          const { status, json } = await caller.request('POST', '/admin/refresh', {
            body: { refresh_token: tokens.refresh_token },
          });
          expect(status).toBe(200);
          old.push(tokens.access_token);
          tokens = json;
        }
      };
      const check = async (token: string) => {
        const { kid } = headerOf(token);
        const startedAt = performance.now();
        const { status } = await me(caller, token);
        const endedAt = performance.now();
        const removed = removedAt.get(kid) ?? Number.POSITIVE_INFINITY;
        kids.add(kid);
        if (endedAt < removed) {
          expect(status, `a token of ${kid}, which is there`).toBe(200);
          seen.good++;
        } else if (startedAt > removed + STOP_MS) {
          expect(status, `a token of ${kid}, removed ${startedAt - removed} ms ago`).toBe(401);
          seen.ended++;
        }
      };
      const rotating = async () => {
        for (let round = 1; performance.now() < endAt; round++) {
          await delay(ROTATE_MS);
          await rotate(round);
        }
      };
      await Promise.all([rotating(), ...Array.from({ length: CALLERS }, use)]);
      expect(seen.good).toBeGreaterThan(20);
      expect(seen.ended).toBeGreaterThan(0);
      expect(kids.size).toBeGreaterThan(KEPT + 2);
    } finally {
      await service.stop();
    }
  });
});
