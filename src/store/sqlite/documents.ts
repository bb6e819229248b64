/** Documents as whole texts, moved between tables as they are: what the copy path and the sweep do in SQLite. */
import { createHash } from 'node:crypto';
import type { CopyRequest, CopyResult, DigestPage, DocumentDigest } from '../port.ts';
import type { SqliteDriver } from '../sqlite.ts';
import { byteLength } from './codec.ts';
import { quoted } from './sql.ts';

/** The most bytes one page of digests reads, but for its last few documents. */
const PAGE_BYTES = 16 * 1024 * 1024;

/** How many rows are read first, before anything is known of their size; doubled while they are small. */
const FIRST_ROWS = 8;

/** @param isClash whether an error of the driver's is a clash with a unique index */
export function createDocumentCopies(driver: SqliteDriver, isClash: (error: unknown) => boolean) {
  const textOf = (table: string, id: string): string | undefined =>
    driver.rows(`SELECT document FROM ${quoted(table)} WHERE _id = ?`, [parseId(id)])[0]?.['document'] as
      | string
      | undefined;

  return {
    digestsAfter(table: string, after: string | null, limit: number): DigestPage {
      const documents: DocumentDigest[] = [];
      let last = after === null ? '' : parseId(after);
      let bytes = 0;
      for (let rows = FIRST_ROWS; documents.length < limit && bytes < PAGE_BYTES; rows *= 2) {
        const wanted = Math.min(rows, limit - documents.length);
        const found = driver.rows(
          `SELECT _id, document FROM ${quoted(table)} WHERE _id > ? ORDER BY _id LIMIT ${wanted}`,
          [last],
        );
        for (const row of found) {
          last = row['_id'] as string;
          documents.push({ id: JSON.stringify(last), digest: digestOf(row['document'] as string) });
          bytes += byteLength(row['document'] as string);
        }
        if (found.length < wanted) return { documents, next: null };
      }
      return { documents, next: JSON.stringify(last) };
    },

    digestsOf(table: string, ids: readonly string[]): DigestPage {
      const documents: DocumentDigest[] = [];
      for (const id of ids) {
        const text = textOf(table, id);
        if (text !== undefined) documents.push({ id, digest: digestOf(text) });
      }
      return { documents, next: null };
    },

    copy(from: string, to: string, requests: readonly CopyRequest[]): CopyResult {
      const result: CopyResult = { copied: [], kept: [], refused: [], gone: [] };
      for (const { id, digest: expected, over } of requests) {
        const text = textOf(from, id);
        const digest = text === undefined ? undefined : digestOf(text);
        if (text === undefined || digest === undefined || (expected !== null && digest !== expected)) {
          result.gone.push(id);
          continue;
        }
        const there = textOf(to, id);
        const digestThere = there === undefined ? null : digestOf(there);
        if (digestThere === digest) {
          result.copied.push({ id, digest });
        } else if (digestThere !== over) {
          result.kept.push(id);
        } else {
          try {
            driver.run(
              there === undefined
                ? `INSERT INTO ${quoted(to)} (document, _id) VALUES (?, ?)`
                : `UPDATE ${quoted(to)} SET document = ? WHERE _id = ?`,
              [text, parseId(id)],
            );
            result.copied.push({ id, digest });
          } catch (error) {
            if (!isClash(error)) throw error;
            result.refused.push(id);
          }
        }
      }
      return result;
    },

    remove(table: string, documents: readonly DocumentDigest[]): number {
      let removed = 0;
      for (const { id, digest } of documents) {
        const text = textOf(table, id);
        if (text === undefined || digestOf(text) !== digest) continue;
        removed += driver.run(`DELETE FROM ${quoted(table)} WHERE _id = ?`, [parseId(id)]);
      }
      return removed;
    },
  };
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Ids are strings here; one of another type, which only another store has, is an id that nothing has. */
function parseId(id: string): string {
  const parsed: unknown = JSON.parse(id);
  return typeof parsed === 'string' ? parsed : '';
}
