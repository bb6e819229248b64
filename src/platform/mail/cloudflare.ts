import { MailError, requireSafe } from '../../domain/outbox/mailer.ts';
import type { Mailer } from '../../domain/outbox/schema.ts';
import type { Sender } from './smtp.ts';

/** What is used of Cloudflare's `send_email` binding. */
export type SendEmailBinding = {
  send(message: {
    from: string | { name: string; email: string };
    to: string;
    subject: string;
    text: string;
    html: string;
    headers: Record<string, string>;
  }): Promise<unknown>;
};

/** Mail by Cloudflare's `send_email` binding (https://developers.cloudflare.com/email-routing/email-workers/send-email-workers/). */
export function createCloudflareMailer({ binding, from }: { binding: SendEmailBinding; from: Sender }): Mailer {
  return {
    send: async (message) => {
      requireSafe(message);
      const { to, subject, text, html } = message;
      try {
        await binding.send({
          from: from.name === undefined ? from.address : { name: from.name, email: from.address },
          to,
          subject,
          text,
          html,
          headers: { 'Auto-Submitted': 'auto-generated' },
        });
        return 'sent';
      } catch (error) {
        // The binding does not tell which refusals are for good, or about all messages: the outbox tries each until it
        // expires.
        throw new MailError('The binding did not take the message.', { failure: 'postponed', cause: error });
      }
    },
  };
}
