import type { Log } from '../../domain/context.ts';
import { requireSafe } from '../../domain/outbox/mailer.ts';
import type { Mailer } from '../../domain/outbox/schema.ts';

/** Where no mail is configured and there is no directory for it: the log has the message's id, and nothing is sent. */
export function createLogOnlyMailer(log: Log): Mailer {
  return {
    send: async (message) => {
      requireSafe(message);
      log('warn', 'mail.nowhere_to_send', { mail_id: message.id });
      return 'dropped';
    },
  };
}
