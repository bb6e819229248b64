import type { Log } from '../../domain/context.ts';
import type { Mailer } from '../../domain/mail/mailer.ts';
import { requireSafe } from '../../domain/mail/mailer.ts';

/** Where no mail is configured and there is no directory to keep it in: the log has its id, and it goes nowhere. */
export function createUnsentMailer(log: Log): Mailer {
  return {
    send: async (message) => {
      requireSafe(message);
      log('warn', 'mail.nowhere_to_send', { mail_id: message.id });
    },
  };
}
