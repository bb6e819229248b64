import { mkdir, readdir, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTransport } from 'nodemailer';
import { MailError, requireSafe } from '../../domain/outbox/mailer.ts';
import type { Mailer } from '../../domain/outbox/schema.ts';
import type { Sender } from './smtp.ts';
import { composed } from './smtp.ts';

/** Mails that are kept; the oldest go first. */
const KEPT = 1000;

/**
 * For development: mails are written to a directory (mode 700), a file `<id>.eml` each, as they would be sent. Ids are
 * in order of time, so names are too.
 */
export function createOutboxDirectory({ directory, from }: { directory: string; from: Sender }): Mailer {
  const transport = createTransport({ streamTransport: true, buffer: true, disableFileAccess: true });
  return {
    send: async (message) => {
      requireSafe(message);
      try {
        const { message: source } = await transport.sendMail(composed(message, from));
        await mkdir(directory, { recursive: true, mode: 0o700 });
        const path = join(directory, `${message.id}.eml`);
        await writeFile(`${path}.part`, source, { mode: 0o600 });
        await rename(`${path}.part`, path);
        await removeOldest(directory);
        return 'kept';
      } catch (error) {
        throw new MailError('The message could not be written.', { failure: 'away', cause: error });
      }
    },
  };
}

async function removeOldest(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.eml')).sort();
  for (const name of names.slice(0, -KEPT)) await unlink(join(directory, name));
}
