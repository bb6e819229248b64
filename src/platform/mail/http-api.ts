import type { MailFailure } from '../../domain/outbox/mailer.ts';
import { MailError, requireSafe } from '../../domain/outbox/mailer.ts';
import type { Mailer } from '../../domain/outbox/schema.ts';
import type { Sender } from './smtp.ts';

const TIMEOUT_MS = 10_000;

/** Statuses that refuse the message itself, for good. */
const REFUSED = [400, 413, 422];

/** Other statuses of a client's error that are about all messages: the key, the address of the API. */
const AWAY = [401, 403, 404, 405, 407, 408];

function failureOf(status: number): MailFailure {
  if (REFUSED.includes(status)) return 'refused';
  return status >= 400 && status < 500 && !AWAY.includes(status) ? 'postponed' : 'away';
}

/**
 * Mail by a provider's HTTP API, in the form of Resend's `POST /emails` (https://resend.com/docs/api-reference/emails):
 * `{from, to, subject, text, html, headers}` with a bearer token, and an Idempotency-Key so that a message that is
 * handed over twice goes out once.
 */
export function createHttpMailer({ url, token, from }: { url: string; token: string; from: Sender }): Mailer {
  return {
    send: async (message) => {
      requireSafe(message);
      const { id, to, subject, text, html } = message;
      const status = await post(url, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'Idempotency-Key': id },
        body: JSON.stringify({
          from: from.name === undefined ? from.address : `${from.name} <${from.address}>`,
          to: [to],
          subject,
          text,
          html,
          headers: { 'Auto-Submitted': 'auto-generated' },
        }),
      });
      if (status >= 200 && status < 300) return 'sent';
      throw new MailError('The mail provider did not take the message.', {
        failure: failureOf(status),
        code: status,
      });
    },
  };
}

async function post(url: string, request: RequestInit): Promise<number> {
  try {
    // The token is for this address and no other.
    const response = await fetch(url, { ...request, redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT_MS) });
    await response.body?.cancel();
    return response.status;
  } catch (error) {
    // Nobody knows how far it came: the provider may have taken the message, or ended the connection for what is in it.
    throw new MailError('The mail provider gave no answer.', { failure: 'postponed', cause: error });
  }
}
