import type { SendMailOptions } from 'nodemailer';
import { createTransport } from 'nodemailer';
import type { MailFailure } from '../../domain/outbox/mailer.ts';
import { MailError, requireSafe } from '../../domain/outbox/mailer.ts';
import type { Mailer, Message } from '../../domain/outbox/schema.ts';

/** Who mail is from. */
export type Sender = { readonly name: string | undefined; readonly address: string };

/** How long the server may take for any one step, in milliseconds. */
const TIMEOUT_MS = 10_000;

type SmtpOptions = {
  /** smtp://user:password@host:587, or smtps:// where TLS comes first. */
  readonly url: string;
  readonly from: Sender;
  /** Whether mail, and the password, may also be sent without TLS, where the server offers none. */
  readonly allowPlain: boolean;
};

/** Mail by SMTP (RFC 5321), a connection a message. */
export function createSmtpMailer({ url, from, allowPlain }: SmtpOptions): Mailer {
  const options = {
    url,
    requireTLS: !allowPlain,
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
  return {
    send: async (message) => {
      requireSafe(message);
      let isHandedOver = false;
      const logger = {
        // nodemailer says so when all of the message is on its way.
        info: ({ tnx }: { tnx?: unknown }) => {
          isHandedOver ||= tnx === 'message';
        },
      };
      try {
        await createTransport({ ...options, logger }).sendMail(composed(message, from));
        return 'sent';
      } catch (error) {
        throw notTaken(error, isHandedOver);
      }
    },
  };
}

/** The message as nodemailer takes it. The id is the same each time, so that receivers can tell a repetition. */
export const composed = ({ id, to, subject, text, html }: Message, from: Sender): SendMailOptions => ({
  from: from.name === undefined ? from.address : { name: from.name, address: from.address },
  to: { name: '', address: to },
  subject,
  text,
  html,
  messageId: `<${id}@${from.address.slice(from.address.lastIndexOf('@') + 1)}>`,
  // RFC 3834: no out-of-office answers, please.
  headers: { 'Auto-Submitted': 'auto-generated' },
});

/**
 * What is refused before there is a receiver, or by 421, is not about one message, unless that was handed over: a server
 * may take it, or end the connection, for what is in it. A 5xx is for good (RFC 5321, 4.2.1).
 */
function notTaken(error: unknown, isHandedOver: boolean): MailError {
  const { responseCode, code, command } = error as { responseCode?: unknown; code?: unknown; command?: unknown };
  const reply = typeof responseCode === 'number' ? responseCode : undefined;
  const isOfMessage = (code === 'EENVELOPE' || code === 'EMESSAGE') && reply !== 421;
  let failure: MailFailure = 'away';
  if (isOfMessage && reply !== undefined && reply >= 500) failure = 'refused';
  else if (isHandedOver || (isOfMessage && command !== 'MAIL FROM')) failure = 'postponed';
  return new MailError('The mail server did not take the message.', { failure, code: reply, cause: error });
}
