/** A mail as every mailer takes it. Who it is from is the mailer's affair. */
export type Message = {
  /** The same when it is sent again: receivers and providers may tell a repetition by it. */
  readonly id: string;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
};

/** The port for mail. */
export type Mailer = {
  /**
   * Hands one message over; resolves when the next one in line has taken it.
   * @throws {MailError} and nothing else
   */
  send(message: Message): Promise<void>;
};

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
