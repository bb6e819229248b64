import type { Mailer } from '../../domain/mail/mailer.ts';
import { MailError, requireSafe } from '../../domain/mail/mailer.ts';
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
      } catch (error) {
        // It does not tell what is for good: the outbox tries a bounded number of times.
        throw new MailError('The binding did not take the message.', { permanent: false, cause: error });
      }
    },
  };
}
