import { chmodSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSqliteFile, StoreFileError } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import type { Store } from '../../src/store/store.ts';
import { createStore } from '../../src/store/store.ts';

/** What the embedded store promises beyond every store: its file. Runs under vitest on Node and under `bun test`. */
export function sqliteFileContract(directory: string): void {
  const open = (name: string) =>
    createStore(createSqliteExecutor(openSqliteFile(join(directory, name, 'tenantry.db'))));

  describe.skipIf(process.platform === 'win32')('a file and those beside it', () => {
    const modesOf = (name: string) =>
      ['', '-wal', '-shm'].map((suffix) => statSync(join(directory, name, `tenantry.db${suffix}`)).mode & 0o777);

    it('are their owner’s alone in a directory that others may enter, whatever the umask is', async () => {
      mkdirSync(join(directory, 'entered'));
      chmodSync(join(directory, 'entered'), 0o755);
      const before = process.umask(0);
      try {
        const store = open('entered');
        await store.database('d').createCollection('c');
        expect(modesOf('entered')).toEqual([0o600, 0o600, 0o600]);
        await store.close();
      } finally {
        process.umask(before);
      }
    });

    it('become their owner’s alone where they were not', async () => {
      const earlier = open('opened');
      await earlier.database('d').createCollection('c');
      for (const suffix of ['', '-wal', '-shm']) chmodSync(join(directory, 'opened', `tenantry.db${suffix}`), 0o644);
      const later = open('opened');
      expect(modesOf('opened')).toEqual([0o600, 0o600, 0o600]);
      await earlier.close();
      await later.close();
    });
  });

  describe('two handles on one file', () => {
    let one: Store;
    let other: Store;

    beforeAll(() => {
      [one, other] = [open('shared'), open('shared')];
    });
    afterAll(async () => {
      await one.close();
      await other.close();
    });

    for (const indexed of [false, true]) {
      const indexes = indexed ? ([{ name: 'by_v', key: { v: 1 } }] as const) : [];

      it(`see each other's renames at once, ${indexed ? 'with' : 'without'} indexes`, async () => {
        const database = `renames_${indexed}`;
        const [here, there] = [one.database(database), other.database(database)];
        await here.createCollection('before', indexes);
        await here.collection('before').insertOne({ _id: 'a', v: 1 });
        expect(await there.collection('before').find({ v: 1 })).toHaveLength(1);
        await here.renameCollection('before', 'after');
        expect(await there.collection('before').find({})).toEqual([]);
        expect(await there.collection('after').find({ v: 1 })).toEqual([{ _id: 'a', v: 1 }]);
        await there.collection('before').insertOne({ _id: 'late', v: 2 });
        expect(await here.collection('after').find({})).toEqual([{ _id: 'a', v: 1 }]);
        expect(await here.collection('before').find({})).toEqual([{ _id: 'late', v: 2 }]);
      });

      it(`see each other's drops at once, ${indexed ? 'with' : 'without'} indexes`, async () => {
        const database = `drops_${indexed}`;
        const [here, there] = [one.database(database), other.database(database)];
        await here.createCollection('c', indexes);
        await here.collection('c').insertOne({ _id: 'a', v: 1 });
        expect(await there.collection('c').find({ v: 1 })).toHaveLength(1);
        await here.dropCollection('c');
        expect(await there.collection('c').find({})).toEqual([]);
        await there.collection('c').insertOne({ _id: 'b', v: 1 });
        expect(await here.collection('c').find({})).toEqual([{ _id: 'b', v: 1 }]);
      });
    }

    it("see each other's indexes at once", async () => {
      const [here, there] = [one.database('indexes'), other.database('indexes')];
      await here.collection('c').insertOne({ _id: 'a', v: 1 });
      await here.collection('c').insertOne({ _id: 'b', v: 2 });
      expect(await there.collection('c').find({ v: 2 })).toHaveLength(1);
      await here.createCollection('c', [{ name: 'by_v', key: { v: 1 }, unique: true }]);
      expect(await there.collection('c').find({ v: 2 })).toEqual([{ _id: 'b', v: 2 }]);
      await expect(there.collection('c').insertOne({ _id: 'c', v: 2 })).rejects.toMatchObject({
        code: 'DuplicateKey',
        index: 'by_v',
      });
    });
  });

  describe('a dropped collection', () => {
    it('is gone at once, and its rows go with later writes, also after a restart', async () => {
      const path = join(directory, 'dropped', 'tenantry.db');
      const rows = () => {
        const driver = openSqliteFile(path);
        const [row] = driver.rows('SELECT count(*) AS n FROM tenantry_documents', []);
        driver.close();
        return row?.['n'];
      };
      const first = open('dropped');
      const collection = first.database('d').collection('large');
      for (let n = 0; n < 3000; n++) await collection.insertOne({ _id: `${n}` });
      await first.database('d').dropCollection('large');
      expect(await collection.find({})).toEqual([]);
      await first.close();
      expect(rows()).toBe(2500);
      const second = open('dropped');
      for (let n = 0; n < 6; n++)
        await second
          .database('d')
          .collection('other')
          .insertOne({ _id: `${n}` });
      await second.close();
      expect(rows()).toBe(6);
    });
  });

  describe('a file that cannot be used', () => {
    const failure = (name: string): unknown => {
      try {
        openSqliteFile(join(directory, name)).close();
        return undefined;
      } catch (error) {
        return error;
      }
    };

    it('is named with a plain reason: no database', () => {
      writeFileSync(join(directory, 'text.db'), 'This is a text and not a database. '.repeat(100));
      expect(failure('text.db')).toBeInstanceOf(StoreFileError);
      expect(failure('text.db')).toMatchObject({ reason: 'is not a database, or is damaged' });
    });

    it('is named with a plain reason: damaged', () => {
      const whole = openSqliteFile(join(directory, 'damaged.db'));
      whole.run('CREATE TABLE t (a)', []);
      whole.close();
      rmSync(join(directory, 'damaged.db-wal'), { force: true });
      rmSync(join(directory, 'damaged.db-shm'), { force: true });
      const bytes = Buffer.alloc(8192, 0xff);
      bytes.write('SQLite format 3\0', 0, 'latin1');
      writeFileSync(join(directory, 'damaged.db'), bytes);
      expect(failure('damaged.db')).toBeInstanceOf(StoreFileError);
    });

    it('is named with a plain reason: below a file', () => {
      writeFileSync(join(directory, 'file'), '');
      expect(failure('file/tenantry.db')).toMatchObject({ reason: 'is below a path that is not a directory' });
    });

    it('is named with a plain reason: a directory', () => {
      mkdirSync(join(directory, 'directory.db'));
      expect(failure('directory.db')).toMatchObject({ reason: 'cannot be opened' });
    });

    // There is no such file for the superuser, who may write anywhere.
    if (process.getuid?.() !== 0) {
      it('is named with a plain reason: not writable', () => {
        openSqliteFile(join(directory, 'read-only.db')).close();
        chmodSync(join(directory, 'read-only.db'), 0o400);
        expect(failure('read-only.db')).toMatchObject({ reason: 'cannot be written' });
      });
    }
  });
}
