import { readdirSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { simpleParser } from 'mailparser';
import { SMTPServer } from 'smtp-server';
import { until } from './deadline.ts';
import { freePort } from './free-port.ts';
import { startHttpServer } from './http-server.ts';

/** A mail as it arrived. */
export type ReceivedMail = {
  readonly to: string;
  readonly from: string;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** What tells a repetition from another mail. */
  readonly repetition: string;
  /** By name, in lower case. */
  readonly headers: ReadonlyMap<string, unknown>;
};

/** Where mails arrive that a service sends. */
export type Mailbox = {
  all(): Promise<ReceivedMail[]>;
};

/**
 * How a server answers: it takes mail, refuses each message for good or for now, ends the connection when it has all of
 * the message, or is not to be used for now.
 */
export type Answering = 'takes' | 'refuses' | 'postpones' | 'drops' | 'away';

export type MailServer = Mailbox & {
  readonly url: string;
  /** From now on. */
  answer(how: Answering): void;
  stop(): Promise<void>;
};

/** The token in a mail, from its link or from beside the call. */
export function tokenIn({ text }: ReceivedMail): string {
  const token = /#token=(\S+)/.exec(text)?.[1] ?? /^Token: (\S+)$/m.exec(text)?.[1];
  if (token === undefined) throw new Error('There is no token in the mail.');
  return token;
}

/** Waits for mail to an address whose subject says so; the newest, once there are so many. */
export async function awaitMail(mailbox: Mailbox, to: string, subject: RegExp, count = 1): Promise<ReceivedMail> {
  return until(`mail ${subject} to ${to}`, async () => {
    const found = (await mailbox.all()).filter((mail) => mail.to === to && subject.test(mail.subject));
    return found.length >= count ? found.at(-1) : undefined;
  });
}

/** The directory that the service writes mail to when there is nowhere to send it. */
export const directoryMailbox = (directory: string): Mailbox => ({
  all: async () => {
    const names = list(directory).filter((name) => name.endsWith('.eml'));
    return Promise.all(names.sort().map((name) => parse(readFileSync(join(directory, name)))));
  },
});

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** An SMTP server on this machine that keeps what it gets. */
export async function startSmtpServer(): Promise<MailServer> {
  const received: Buffer[] = [];
  let answering: Answering = 'takes';
  let last: Socket | undefined;
  const refusal = (how: Exclude<Answering, 'takes' | 'drops'>) =>
    Object.assign(new Error('Refused'), { responseCode: { refuses: 550, postpones: 451, away: 421 }[how] });
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'],
    authOptional: true,
    onRcptTo: (_address, _session, callback) =>
      callback(answering === 'takes' || answering === 'drops' ? null : refusal(answering)),
    onData: (stream, _session, callback) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (answering === 'drops') return void last?.destroy();
        received.push(Buffer.concat(chunks));
        callback();
      });
    },
  });
  server.server.on('connection', (socket: Socket) => {
    last = socket;
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `smtp://127.0.0.1:${port}`,
    answer: (how) => {
      answering = how;
    },
    all: () => Promise.all(received.map(parse)),
    stop: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** A mail provider with an HTTP API in the form of Resend's. */
export async function startMailProvider(token: string): Promise<MailServer> {
  const received: ReceivedMail[] = [];
  let answering: Answering = 'takes';
  const server = await startHttpServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const said = Buffer.concat(chunks).toString();
    if (answering === 'drops') return void request.socket.destroy();
    const known = request.headers.authorization === `Bearer ${token}` && request.method === 'POST';
    const status = known ? { takes: 200, refuses: 422, postpones: 429, away: 503 }[answering] : 401;
    if (status === 200) received.push(fromApi(said, String(request.headers['idempotency-key'])));
    response.writeHead(status, { 'Content-Type': 'application/json' }).end('{"id":"x","message":"words of theirs"}');
  });
  return {
    url: `${server.url}/emails`,
    answer: (how) => {
      answering = how;
    },
    all: async () => [...received],
    stop: server.stop,
  };
}

function fromApi(said: string, repetition: string): ReceivedMail {
  const { from, to, subject, text, html, headers } = JSON.parse(said) as {
    [field: string]: unknown;
    headers?: Record<string, string>;
  };
  const names = Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  return {
    to: String(to),
    from: String(from),
    subject: String(subject),
    text: String(text),
    html: String(html),
    repetition,
    headers: new Map<string, unknown>(names),
  };
}

async function parse(source: Buffer): Promise<ReceivedMail> {
  const mail = await simpleParser(source);
  const to = Array.isArray(mail.to) ? mail.to : mail.to === undefined ? [] : [mail.to];
  return {
    to: to.map(({ text }) => text).join(', '),
    from: mail.from?.text ?? '',
    subject: mail.subject ?? '',
    text: mail.text ?? '',
    html: mail.html || '',
    repetition: mail.messageId ?? '',
    headers: mail.headers,
  };
}
