import type { ServerResponse } from 'node:http';
import { startHttpServer } from './http-server.ts';

/** How a verifier answers from now on; `answers`: as Turnstile does. */
export type Verdict =
  | 'answers'
  | 'fails'
  | 'redirects'
  | 'talks'
  | 'hangs'
  | 'refuses the secret'
  | 'knows another site';

export type CaptchaVerifier = {
  readonly url: string;
  readonly secret: string;
  /** The variables of a service that asks it. */
  readonly env: Readonly<Record<string, string>>;
  /** A token that is good once, as a widget makes it. */
  newToken(): string;
  /** What it was sent, as fields. */
  readonly received: readonly Readonly<Record<string, string>>[];
  answer(how: Verdict): void;
  stop(): Promise<void>;
};

/** A verifier in the form of Turnstile's siteverify, as a server on this machine. */
export async function startCaptchaVerifier(): Promise<CaptchaVerifier> {
  const secret = 'the secret key of a widget';
  const received: Record<string, string>[] = [];
  const unused = new Set<string>();
  let made = 0;
  let verdict: Verdict = 'answers';
  const say = (response: ServerResponse, status: number, body: unknown, headers = {}) =>
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
  const server = await startHttpServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const form = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
    received.push(form);
    const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
    const isAsked = request.method === 'POST' && request.url === '/siteverify' && isForm;
    switch (verdict) {
      case 'hangs':
        return;
      case 'fails':
        return say(response, 500, { success: true });
      case 'redirects':
        return say(response, 307, { success: true }, { Location: '/elsewhere' });
      case 'talks':
        return say(response, 200, 'success: true');
      case 'knows another site':
        return say(response, 200, { success: false, 'error-codes': ['sitekey-secret-mismatch'] });
      case 'refuses the secret':
        return say(response, 200, { success: false, 'error-codes': ['invalid-input-secret'] });
    }
    if (!isAsked || form['secret'] !== secret)
      return say(response, 400, { success: false, 'error-codes': ['bad-request'] });
    const success = unused.delete(form['response'] ?? '');
    return say(response, 200, success ? { success } : { success, 'error-codes': ['timeout-or-duplicate'] });
  });
  const url = `${server.url}/siteverify`;
  return {
    url,
    secret,
    env: { CAPTCHA_VERIFY_URL: url, CAPTCHA_SECRET: secret },
    newToken: () => {
      // As long as hCaptcha's become.
      const token = `solved.${++made}.${'x'.repeat(5000)}`;
      unused.add(token);
      return token;
    },
    received,
    answer: (how) => {
      verdict = how;
    },
    stop: server.stop,
  };
}
