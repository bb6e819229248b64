import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { startHttpServer } from './http-server.ts';

/** How a breach service answers from now on; `answers`: as Have I Been Pwned does. */
export type RangeAnswer = 'answers' | 'fails' | 'redirects' | 'talks' | 'floods' | 'stops midway' | 'hangs';

export type BreachService = {
  readonly url: string;
  /** The variables of a service that asks it. */
  readonly env: Readonly<Record<string, string>>;
  /** What it was asked, as `METHOD path`, with the headers. */
  readonly asked: readonly { readonly target: string; readonly headers: IncomingHttpHeaders }[];
  /** From now on the password was seen so many times; 0: its hash is padding. */
  add(password: string, count: number): void;
  answer(how: RangeAnswer): void;
  stop(): Promise<void>;
};

export const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex').toUpperCase();

/** A breach service in the form of Have I Been Pwned's range API, as a server on this machine. */
export async function startBreachService(): Promise<BreachService> {
  const seen = new Map<string, number>();
  const asked: { target: string; headers: IncomingHttpHeaders }[] = [];
  let how: RangeAnswer = 'answers';
  const server = await startHttpServer(({ method, url = '', headers }, response) => {
    asked.push({ target: `${method} ${url}`, headers });
    const prefix = url.slice(url.lastIndexOf('/') + 1);
    const known = [...seen].filter(([hash]) => hash.startsWith(prefix));
    const lines = known.map(([hash, count]) => `${hash.slice(prefix.length)}:${count}`);
    const page = [`${'0'.repeat(35)}:7`, ...lines, `${'F'.repeat(35)}:0`].join('\r\n');
    response.setHeader('Content-Type', 'text/plain');
    switch (how) {
      case 'hangs':
        return;
      case 'fails':
        return response.writeHead(503).end(page);
      case 'redirects':
        return response.writeHead(307, { Location: `/elsewhere/${prefix}` }).end(page);
      case 'talks':
        return response.end(`<html>\n${page}\n</html>`);
      case 'floods':
        return response.end(`${page}\r\n${`${'A'.repeat(35)}:1\r\n`.repeat(30_000)}`);
      case 'stops midway':
        return response.write(page);
    }
    return response.end(page);
  });
  const url = `${server.url}/range`;
  return {
    url,
    env: { PASSWORD_BLOCKLIST: 'breached', PASSWORD_BREACH_URL: url },
    asked,
    add: (password, count) => seen.set(sha1(password), count),
    answer: (next) => {
      how = next;
    },
    stop: server.stop,
  };
}
