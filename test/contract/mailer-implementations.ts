import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createHttpMailer } from '../../src/platform/mail/http-api.ts';
import { createOutboxDirectory } from '../../src/platform/mail/outbox-directory.ts';
import { createSmtpMailer } from '../../src/platform/mail/smtp.ts';
import type { MailServer } from '../support/mailbox.ts';
import { directoryMailbox, startMailProvider, startSmtpServer } from '../support/mailbox.ts';
import type { MailerUnderTest } from './mailer-contract.ts';
import { FROM, mailerContract } from './mailer-contract.ts';

const TOKEN = 'the key of a provider';

const behind = (server: MailServer, mailer: MailerUnderTest['mailer']): MailerUnderTest => ({
  mailer,
  mailbox: server,
  outcome: 'sent',
  answer: server.answer,
  tellsFailures: true,
  stop: server.stop,
});

/** The contract, for every mailer of Node and Bun. */
export function processMailers(runtime: string): void {
  mailerContract(`SMTP on ${runtime}`, async () => {
    const server = await startSmtpServer();
    return behind(server, createSmtpMailer({ url: server.url, from: FROM, allowPlain: true }));
  });

  it(`SMTP on ${runtime} sends nothing to a server without TLS, unless that is allowed`, async () => {
    const server = await startSmtpServer();
    const mailer = createSmtpMailer({ url: server.url, from: FROM, allowPlain: false });
    const message = { id: 'plain', to: 'a@example.com', subject: 'Plain', text: 'x', html: 'x' };
    await expect(mailer.send(message)).rejects.toMatchObject({ failure: 'away' });
    expect(await server.all()).toEqual([]);
    await server.stop();
  });

  mailerContract(`a provider’s HTTP API on ${runtime}`, async () => {
    const server = await startMailProvider(TOKEN);
    return behind(server, createHttpMailer({ url: server.url, token: TOKEN, from: FROM }));
  });

  mailerContract(`the outbox directory on ${runtime}`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tenantry-outbox-'));
    return {
      mailer: createOutboxDirectory({ directory, from: FROM }),
      mailbox: directoryMailbox(directory),
      outcome: 'kept',
      answer: undefined,
      tellsFailures: false,
      stop: async () => rmSync(directory, { recursive: true }),
    };
  });
}
