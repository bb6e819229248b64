import type { Message } from './schema.ts';

/**
 * `refused`: this message is refused for good. `postponed`: this message, or its receiver, is refused for now, or nobody
 * knows whether it was taken; others may go. `away`: the mailer cannot be reached or used, so no message goes.
 */
export type MailFailure = 'refused' | 'postponed' | 'away';

/** Why a message was not taken. It never holds an address, a token or text of the other side. */
export class MailError extends Error {
  override readonly name = 'MailError';
  readonly failure: MailFailure;
  /** The other side's answer as a number (SMTP, HTTP), where it gave one. */
  readonly code: number | undefined;

  constructor(message: string, options: { failure: MailFailure; code?: number | undefined; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.failure = options.failure;
    this.code = options.code;
  }
}

/** Exactly one address: no list, no name, no route, and nothing that could end a header's line. */
const ADDRESS = /^[^\s<>()[\]\\,;:"@\p{Cc}]+@[^\s<>()[\]\\,;:"@\p{Cc}]+$/u;

const CONTROL = /\p{Cc}|[\u2028\u2029]/u;

/**
 * The check that every mailer makes first: no text of a caller may add a header or a recipient (RFC 5322, section 2.2).
 * @throws {MailError} refused
 */
export function requireSafe({ id, to, subject }: Message): void {
  const safe = ADDRESS.test(to) && !CONTROL.test(subject) && /^[\w-]{1,64}$/.test(id);
  if (!safe) throw new MailError('The message could add headers or recipients.', { failure: 'refused' });
}
