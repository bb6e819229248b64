import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { expect } from 'vitest';

/** A response with its body read. */
export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined when it is not. */
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape, and read on from there.
  readonly json: any;
};

export type Call = {
  readonly method: string;
  /** With the query. */
  readonly target: string;
  readonly answer: Answer;
};

export type RawBody = string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;

export type RequestOptions = {
  readonly query?: Readonly<Record<string, string>>;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is. */
  readonly raw?: RawBody;
};

export type Credentials = { readonly email: string; readonly password: string };

/** An organization that a test made. */
export type Tenant = Credentials & {
  readonly name: string;
  readonly organizationId: string;
  readonly collection: string;
  readonly adminId: string;
};

export type SignedInTenant = Tenant & { readonly token: string };

/** Called with each answer and the passwords that were sent so far. Throws when the answer is not as it must be. */
export type AnswerCheck = (call: Call, secrets: ReadonlySet<string>) => void;

/** A caller of the service that remembers the secrets it used. */
export type Caller = {
  readonly url: string;
  /** Every password that `newPassword` made: no other text contains one of them by chance. */
  readonly secrets: ReadonlySet<string>;
  /** Every refresh token of an answer. */
  readonly refreshTokens: ReadonlySet<string>;
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  /** Writes these bytes to a socket and reads the answer; for requests that fetch refuses to make. */
  raw(method: string, path: string, lines: readonly string[], body?: string): Promise<Answer>;
  /** A password that no other text contains by chance. */
  newPassword(): string;
  create(name: string, credentials?: Partial<Credentials>): Promise<Answer>;
  login(credentials: Credentials & { readonly code?: string }, organizationName?: string): Promise<Answer>;
  get(name: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  update(token: string, body: Readonly<Record<string, unknown>>): Promise<Answer>;
  remove(token: string, name: string): Promise<Answer>;
  /** Creates an organization of a new name and asserts that it is there. */
  tenant(name?: string): Promise<Tenant>;
  signedInTenant(name?: string): Promise<SignedInTenant>;
  /** Asserts that the credentials sign in, and gives the access token. */
  tokenFor(credentials: Credentials & { readonly code?: string }, organizationName?: string): Promise<string>;
};

/** A name that no other test uses. */
export const newName = (stem = 'Tenant'): string => `${stem} ${randomBytes(5).toString('hex')}`;

/**
 * A caller of the service at this address.
 * @param check applied to each answer
 */
export function createCaller(url: string, check: AnswerCheck = () => {}): Caller {
  const secrets = new Set<string>();
  const refreshTokens = new Set<string>();

  const remember = (method: string, target: string, answer: Answer): Answer => {
    expect(answer.headers.get('X-Request-Id'), `X-Request-Id of ${method} ${target}`).toMatch(/^[\w=-]{8,}$/);
    if (typeof answer.json?.refresh_token === 'string') refreshTokens.add(answer.json.refresh_token);
    check({ method, target, answer }, secrets);
    return answer;
  };

  const caller: Caller = {
    url,
    secrets,
    refreshTokens,
    request: async (method, path, { query, token, headers, body, raw } = {}) => {
      const target = query === undefined ? path : `${path}?${new URLSearchParams(query)}`;
      const response = await fetch(`${url}${target}`, {
        method,
        headers: {
          ...(token !== undefined && { Authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(raw !== undefined && { body: raw, duplex: 'half' }),
      });
      return remember(method, target, toAnswer(response.status, response.headers, await response.text()));
    },
    raw: async (method, path, lines, body = '') =>
      remember(method, path, await rawRequest(url, [`${method} ${path} HTTP/1.1`, ...lines], body)),
    newPassword: () => {
      const password = `Pw-${randomBytes(9).toString('base64url')}`;
      secrets.add(password);
      return password;
    },
    create: (name, { email = newEmail(), password = caller.newPassword() } = {}) =>
      caller.request('POST', '/org/create', { body: { organization_name: name, email, password } }),
    login: ({ email, password, code }, organizationName) =>
      caller.request('POST', '/admin/login', {
        body: {
          ...{ email, password },
          ...(organizationName !== undefined && { organization_name: organizationName }),
          ...(code !== undefined && { code }),
        },
      }),
    get: (name, headers = {}) => caller.request('GET', '/org/get', { query: { organization_name: name }, headers }),
    update: (token, body) => caller.request('PUT', '/org/update', { token, body }),
    remove: (token, name) => caller.request('DELETE', '/org/delete', { token, query: { organization_name: name } }),
    tenant: async (name = newName()) => {
      const email = newEmail();
      const password = caller.newPassword();
      const { status, json, text } = await caller.create(name, { email, password });
      expect(status, text).toBe(200);
      return {
        name: json.organization_name,
        email,
        password,
        organizationId: json.organization_id,
        collection: json.collection_name,
        adminId: json.admin_id,
      };
    },
    signedInTenant: async (name) => {
      const tenant = await caller.tenant(name);
      return { ...tenant, token: await caller.tokenFor(tenant) };
    },
    tokenFor: async (credentials, organizationName) => {
      const { status, json, text } = await caller.login(credentials, organizationName);
      expect(status, text).toBe(200);
      return json.access_token;
    },
  };
  return caller;
}

/** An address that no other test uses. */
export const newEmail = (): string => `admin-${randomBytes(6).toString('hex')}@example.com`;

function toAnswer(status: number, headers: Headers, text: string): Answer {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status, headers, text, json };
}

const RAW_MS = 30_000;

function rawRequest(url: string, head: readonly string[], body: string): Promise<Answer> {
  const { hostname, port, host } = new URL(url);
  return new Promise((resolve, reject) => {
    const received: Buffer[] = [];
    let failure: Error | undefined;
    const socket = connect(Number(port), hostname);
    socket.setTimeout(RAW_MS, () => socket.destroy(new Error('No answer in time.')));
    socket.on('data', (data: Buffer) => received.push(data));
    socket.on('error', (error) => {
      failure = error;
    });
    socket.on('close', () => {
      const answer = parseResponse(Buffer.concat(received).toString('latin1'));
      if (answer === undefined) reject(failure ?? new Error('The connection was closed without an answer.'));
      else resolve(answer);
    });
    socket.on('connect', () => {
      socket.write([...head, `Host: ${host}`, 'Connection: close', '', body].join('\r\n'));
    });
  });
}

function parseResponse(text: string): Answer | undefined {
  const end = text.indexOf('\r\n\r\n');
  const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
  if (end < 0 || status === undefined) return undefined;
  const headers = new Headers();
  for (const line of text.slice(0, end).split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const body = text.slice(end + 4);
  return toAnswer(Number(status), headers, headers.get('Transfer-Encoding') === 'chunked' ? unchunk(body) : body);
}

function unchunk(text: string): string {
  let rest = text;
  let joined = '';
  for (;;) {
    const line = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.slice(0, line), 16);
    if (line < 0 || !(size > 0)) return joined;
    joined += rest.slice(line + 2, line + 2 + size);
    rest = rest.slice(line + 2 + size + 2);
  }
}
