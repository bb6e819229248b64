import { expect, test } from 'vitest';
import { createLogOnlyMailer } from '../../src/platform/mail/log-only.ts';
import { cloudflareMailer } from './cloudflare-mailer.ts';
import { processMailers } from './mailer-implementations.ts';

processMailers('Node');
cloudflareMailer('Node');

test('without mail, a message is dropped, and the log holds its id alone', async () => {
  const lines: unknown[] = [];
  const mailer = createLogOnlyMailer((...line) => lines.push(line));
  const message = { id: 'id-1', to: 'admin@example.com', subject: 'A subject', text: 'A text', html: '<p>A text</p>' };
  expect(await mailer.send(message)).toBe('dropped');
  expect(lines).toEqual([['warn', 'mail.nowhere_to_send', { mail_id: 'id-1' }]]);
});
