import { describe, expect, it } from 'vitest';
import type { Hasher } from '../../src/platform/hashing/hasher.ts';
import { HasherBusyError } from '../../src/platform/hashing/hasher.ts';

/** Hashes of this password that each implementation made. */
const PASSWORD = 'pässwörd 1';
const HASHES = {
  'bcrypt in Rust': '$2b$10$AgR9K2W.MwO/u0Gc2YFNHONCfzWeVPYP3MpLjQqDMeyiKRbMXEsLm',
  bcryptjs: '$2b$10$Q0i4VSF5dud6xBhVrbCTf.f1XgAWrtesrXuq0UrFogYVF9Y3Xk.Ui',
  'Bun.password': '$2b$10$FyjXFBWmFZy21O.ojGWptepyQWbLhcKx3vkBnCaBR6xHkkWO.w76C',
  'the prefix $2a$': '$2a$10$Q0i4VSF5dud6xBhVrbCTf.f1XgAWrtesrXuq0UrFogYVF9Y3Xk.Ui',
  'the prefix $2y$': '$2y$10$Q0i4VSF5dud6xBhVrbCTf.f1XgAWrtesrXuq0UrFogYVF9Y3Xk.Ui',
};

/** What every hasher promises, the same on each runtime. Costs 10 or a little more: seconds, not milliseconds. */
export function hasherContract(name: string, create: (options: { cost: number }) => Hasher): void {
  describe(name, () => {
    const hasher = create({ cost: 10 });

    it('reads the hashes that every other implementation made', async () => {
      for (const hash of Object.values(HASHES)) {
        expect(await hasher.verify(PASSWORD, hash)).toBe(true);
        expect(await hasher.verify(`${PASSWORD}x`, hash)).toBe(false);
      }
    });

    it('makes a hash of its own salt and the configured cost each time', async () => {
      const [one, other] = await Promise.all([hasher.hash(PASSWORD), hasher.hash(PASSWORD)]);
      expect(one).toMatch(/^\$2[aby]\$10\$/);
      expect(one).not.toBe(other);
      expect(await hasher.verify(PASSWORD, one)).toBe(true);
    });

    it('takes 72 bytes, and no more: passwords that share them never share a hash', async () => {
      const full = 'ä'.repeat(36);
      const hash = await hasher.hash(full);
      expect(await hasher.verify(full, hash)).toBe(true);
      for (const longer of [`${full}x`, `${full}ä`, full.repeat(1000)]) {
        await expect(hasher.hash(longer)).rejects.toThrow(RangeError);
        expect(await hasher.verify(longer, hash)).toBe(false);
      }
    });

    it('does not stop at a NUL', async () => {
      const hash = await hasher.hash('a');
      expect(await hasher.verify('a\0a', hash)).toBe(false);
      await expect(hasher.hash('a\0a')).rejects.toThrow(RangeError);
    });

    it('says no to a malformed hash, after the same work', async () => {
      const real = await hasher.hash(PASSWORD);
      const time = async (hash: string) => {
        const start = performance.now();
        expect(await hasher.verify('wrong password', hash)).toBe(false);
        return performance.now() - start;
      };
      await time(real);
      // The work is the hash's: a malformed one that is answered at once takes no time at all.
      for (const malformed of ['', 'nonsense', real.slice(0, -1), `$3x${real.slice(3)}`, `$2b$99${real.slice(6)}`]) {
        const [known, unknown] = [await time(real), await time(malformed)];
        if (known > 1) expect(unknown).toBeGreaterThan(known / 10);
      }
    });

    const orBusy = (verified: Promise<boolean>) =>
      verified.catch((error: unknown) => {
        if (error instanceof HasherBusyError) return 'busy';
        throw error;
      });

    it('has room for a sign-in while those who are signed in hash as fast as they can', async () => {
      const verify = () => hasher.verify(PASSWORD, HASHES.bcryptjs);
      const shared = Array.from({ length: 100 }, () => orBusy(hasher.share?.(verify) ?? verify()));
      expect(await orBusy(verify())).toBe(true);
      const tries = await Promise.all(shared);
      expect(tries).toContain('busy');
      expect(tries).toContain(true);
    }, 60_000);

    it('refuses what is over its bound, and finishes what it took', async () => {
      const tries = await Promise.all(
        Array.from({ length: 100 }, () => orBusy(hasher.verify(PASSWORD, HASHES.bcryptjs))),
      );
      expect(tries).toContain('busy');
      expect(tries).toContain(true);
      expect(tries).not.toContain(false);
      expect(await hasher.verify(PASSWORD, HASHES.bcryptjs)).toBe(true);
    }, 60_000);
  });
}
