import type { Outcome } from './journal.ts';

/** The outcome of one request. `status` 0: no answer came. */
export type Reply = {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly outcome: Outcome;
  readonly invoked: number;
  readonly answered: number;
  /** For the journal: the status and code, or why there was no answer. */
  readonly summary: string;
};

export type Request = {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, unknown>>;
};

export type Client = {
  send(url: string, request: Request): Promise<Reply>;
  /** How many requests wait for their answer now. */
  underWay(): number;
  counts(): Readonly<Record<Outcome, number>>;
};

/** The summary of a request that was never sent. */
export const NOT_LISTENING = 'ECONNREFUSED';

/** How long a caller waits for an answer, in milliseconds. */
const TIMEOUT_MS = 12_000;

/** A client that tells lost answers from refusals, and counts them. */
export function createClient(): Client {
  const counts: Record<Outcome, number> = { acknowledged: 0, refused: 0, unknown: 0 };
  let underWay = 0;
  return {
    underWay: () => underWay,
    counts: () => counts,
    send: async (url, { method, path, query, token, headers, body }) => {
      const target = query === undefined ? path : `${path}?${new URLSearchParams(query)}`;
      const invoked = performance.now();
      const reply = (status: number, outcome: Outcome, text: string, answer: Reply['body'] = {}): Reply => {
        if (text !== NOT_LISTENING) counts[outcome]++;
        return { status, body: answer, outcome, invoked, answered: performance.now(), summary: text };
      };
      underWay++;
      try {
        const response = await fetch(`${url}${target}`, {
          method,
          headers: {
            ...(token !== undefined && { Authorization: `Bearer ${token}` }),
            ...(body !== undefined && { 'Content-Type': 'application/json' }),
            ...headers,
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        const answer = (await response.json()) as Reply['body'];
        const { status } = response;
        const outcome = status < 300 ? 'acknowledged' : status < 500 ? 'refused' : 'unknown';
        return reply(status, outcome, [status, answer['code'] ?? ''].join(' '), answer);
      } catch (error) {
        const code = codeOf(error);
        return reply(0, code === NOT_LISTENING ? 'refused' : 'unknown', code);
      } finally {
        underWay--;
      }
    },
  };
}

function codeOf(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: unknown }; name?: string };
  return typeof cause?.code === 'string' ? cause.code : (name ?? 'unknown');
}
