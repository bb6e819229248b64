import type { Message } from './schema.ts';

/** Why a message was not taken. Never holds an address, a token or what the other side said. */
export class MailError extends Error {
  override readonly name = 'MailError';
  /** Trying again will not help. */
  readonly permanent: boolean;
  /** What the other side answered, as a number (SMTP, HTTP), where it did. */
  readonly code: number | undefined;

  constructor(message: string, options: { permanent: boolean; code?: number | undefined; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.permanent = options.permanent;
    this.code = options.code;
  }
}

/** One address and nothing else: no list, no name, no route, nothing that could end a header's line. */
const ADDRESS = /^[^\s<>()[\]\\,;:"@\p{Cc}]+@[^\s<>()[\]\\,;:"@\p{Cc}]+$/u;

const CONTROL = /\p{Cc}|[\u2028\u2029]/u;

/**
 * What every mailer asks first: nothing that a caller typed may add a header or a recipient (RFC 5322, section 2.2).
 * @throws {MailError} permanent
 */
export function requireSafe({ id, to, subject }: Message): void {
  const safe = ADDRESS.test(to) && !CONTROL.test(subject) && /^[\w-]{1,64}$/.test(id);
  if (!safe) throw new MailError('The message could add headers or recipients.', { permanent: true });
}
