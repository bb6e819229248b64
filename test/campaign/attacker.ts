import { randomBytes, randomUUID } from 'node:crypto';
import { operationsOf } from '../support/hostile-bodies.ts';
import type { Random } from '../support/random.ts';

/** An account as it is now. */
export type Account = { name: string; email: string; password: string };

/** A call of an operation of /openapi.json. */
export type AttackCall = {
  /** As `POST /org/create`. */
  readonly operation: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, unknown>>;
};

type Input = Omit<AttackCall, 'operation'>;

/** The body of an answer. */
export type AnswerBody = Readonly<Record<string, unknown>>;

/**
 * Somebody who calls every route with inputs that could be valid, uses what the answers bring, and calls again what
 * changed something: a route without a budget is soon called most of the time.
 */
export type Attacker = {
  next(): AttackCall;
  /** Each call of `next` is followed by one of this. */
  learn(call: AttackCall, status: number, answer: AnswerBody): void;
};

export type AttackerOptions = {
  readonly random: Random;
  /** /openapi.json */
  readonly description: Parameters<typeof operationsOf>[0];
  /** Emails and organizations of others. */
  readonly victims: readonly string[];
  readonly names: readonly string[];
  /** The attacker has this account and one token of it. Left out: as many accounts and tokens as the attacker gets. */
  readonly only?: {
    readonly account: Account;
    /** Another admin of its organization. */
    readonly otherAdminId: string;
  };
};

/** Calls that end what the attacker has. With more of them than one in so many, it could do little else. */
const ENDING = [
  'DELETE /org/delete',
  'DELETE /admin/sessions',
  'POST /admin/logout',
  'POST /admin/logout-all',
  'POST /admin/password/change',
];
const RARELY = 500;

/** Sign-ins would use up the budget with which an attacker with one token gets another when that one has ended. */
const SIGN_INS = ['POST /admin/login', 'POST /org/restore'];

/** They change an account, or sign in to it. */
const CHANGING = ['PUT /org/update', 'POST /admin/login'];

/** Values of one kind that answers brought, and that are tried: the newest ones. */
const REMEMBERED = 100;

const newPassword = (): string => `Pw-${randomBytes(9).toString('base64url')}`;
const newToken = (): string => randomBytes(32).toString('base64url');
const newWord = (): string => randomBytes(5).toString('hex');

const keep = <T>(values: T[], value: T, most = REMEMBERED): void => {
  values.push(value);
  if (values.length > most) values.shift();
};

export function createAttacker({ random, description, victims, names, only }: AttackerOptions): Attacker {
  const withBody = new Map(operationsOf(description).map((one) => [`${one.method} ${one.path}`, one]));
  const operations = Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => ({
      name: `${method.toUpperCase()} ${path}`,
      isPublic: security === undefined,
    })),
  );
  const ending = operations.filter(({ name }) => ENDING.includes(name));
  const others = operations.filter(
    ({ name }) => !ENDING.includes(name) && (only === undefined || !SIGN_INS.includes(name)),
  );

  const accounts: Account[] = only === undefined ? [] : [only.account];
  const tokens: { readonly text: string; readonly account: Account | undefined }[] = [];
  const ids = new Map<string, string[]>(only === undefined ? [] : [['admin_id', [only.otherAdminId]]]);
  const most = only === undefined ? REMEMBERED : 1;

  const anyOf = <T>(values: readonly T[], instead: () => T): T =>
    values.length === 0 || random.chance(0.1) ? instead() : random.pick(values);
  const idOf = (field: string, instead: () => string = randomUUID) => anyOf(ids.get(field) ?? [], instead);
  /** With a tag it is the same mailbox. */
  const victim = () => {
    const email = random.pick(victims);
    return random.chance(0.3) ? email.replace('@', `+${newWord()}@`) : email;
  };
  const anyone = () => (random.chance(0.7) ? victim() : `nobody-${newWord()}@example.net`);
  const newAccount = (): Account => ({
    name: random.chance(0.1) ? random.pick(names) : `Attack ${newWord()}`,
    email: random.chance(0.5) ? victim() : `own-${newWord()}@attacker.example`,
    password: newPassword(),
  });
  const own = () => anyOf(accounts, newAccount);
  const anyName = () => (random.chance(0.5) ? random.pick(names) : own().name);
  const role = () => random.pick(['owner', 'admin', 'viewer']);
  const dryRun = () => (random.chance(0.2) ? { dry_run: 'true' } : {});

  /** By operation; one that is not here gets the samples of /openapi.json. */
  const inputs: Readonly<Record<string, (token: Account | undefined) => Input>> = {
    'POST /org/create': () => {
      const { name: organization_name, email, password } = newAccount();
      const key = random.chance(0.3) ? 'the-same-key' : newWord();
      const headers = random.chance(0.5) ? { headers: { 'Idempotency-Key': key } } : {};
      return { ...headers, body: { organization_name, email, password } };
    },
    'GET /org/get': () => ({ query: { organization_name: anyName() } }),
    'PUT /org/update': (account = newAccount()) => ({
      query: dryRun(),
      body: random.pick([
        { new_organization_name: `Attack ${newWord()}` },
        { new_organization_name: random.pick(names) },
        { email: victim() },
        { email: anyone(), current_password: account.password },
        { email: anyone(), current_password: newPassword() },
        { password: account.password },
        { new_organization_name: `Attack ${newWord()}`, email: victim(), password: account.password },
      ]),
    }),
    // An attacker with one token keeps its organization.
    'DELETE /org/delete': (account) => ({
      query: { organization_name: account?.name ?? anyName(), ...(only === undefined ? {} : { dry_run: 'true' }) },
    }),
    'POST /org/restore': () => {
      const { name: organization_name, email, password } = own();
      return { body: { organization_name, email, password } };
    },
    'GET /org/erasure': () => ({ query: { organization_id: idOf('organization_id') } }),
    'PUT /org/admins': () => ({ body: { admin_id: idOf('admin_id'), role: role() } }),
    'DELETE /org/admins': () => ({ query: { admin_id: only === undefined ? idOf('admin_id') : randomUUID() } }),
    'POST /org/invites': () => ({ body: { email: anyone(), role: role() } }),
    'DELETE /org/invites': () => ({ query: { invitation_id: idOf('invitation_id') } }),
    'GET /org/sessions': () => ({ query: { admin_id: idOf('admin_id') } }),
    'DELETE /org/sessions': () => ({ query: { admin_id: idOf('admin_id') } }),
    'POST /admin/login': () => {
      const { name: organization_name, email, password } = own();
      return random.pick([
        { body: { email, password } },
        { body: { email, password, organization_name } },
        { body: { email: anyone(), password: newPassword() } },
      ]);
    },
    'POST /admin/refresh': () => ({ body: { refresh_token: idOf('refresh_token', newToken) } }),
    'POST /admin/logout': () => ({ body: { refresh_token: idOf('refresh_token', newToken) } }),
    'DELETE /admin/sessions': () => ({ query: { session_id: idOf('session_id') } }),
    'POST /admin/password/change': ({ password } = newAccount()) => ({
      body: { current_password: password, new_password: password },
    }),
    'POST /admin/password/forgot': () => ({
      body: { email: anyone(), ...(random.chance(0.3) && { organization_name: anyName() }) },
    }),
    'POST /admin/second-factor': ({ password } = newAccount()) => ({ body: { current_password: password } }),
    'DELETE /admin/second-factor': ({ password } = newAccount()) => ({
      body: { current_password: password, code: '123456' },
    }),
    'POST /admin/password/reset': () => ({ body: { token: newToken(), password: newPassword() } }),
  };

  const tokenOf = ({ headers }: AttackCall) =>
    tokens.find(({ text }) => headers?.['Authorization'] === `Bearer ${text}`);

  const learnIds = (answer: AnswerBody) => {
    for (const field of ['organization_id', 'admin_id', 'invitation_id', 'session_id', 'refresh_token']) {
      const value = answer[field];
      if (typeof value !== 'string' || (field === 'admin_id' && only !== undefined)) continue;
      const known = ids.get(field) ?? [];
      // A token that was used ends the session.
      if (!known.includes(value)) keep(known, value, field === 'refresh_token' ? most : REMEMBERED);
      ids.set(field, known);
    }
  };

  /** Operations that changed something, the last ones. */
  const worked: (typeof operations)[number][] = [];

  /** Calls under way that change the account, or sign in to it. */
  let changing = 0;
  const signIn = (): AttackCall | undefined => {
    if (only === undefined || tokens.length > 0 || changing > 0) return undefined;
    const { name: organization_name, email, password } = only.account;
    return { operation: 'POST /admin/login', body: { email, password, organization_name } };
  };
  const choose = (): AttackCall => {
    const among = random.chance(1 / RARELY) ? ending : random.chance(0.5) && worked.length > 0 ? worked : others;
    const { name: operation, isPublic } = random.pick(among);
    // What an account is after two changes at once, the attacker does not know.
    if (only !== undefined && changing > 0 && CHANGING.includes(operation)) return choose();
    const token = anyOf(tokens, () => ({ text: newToken(), account: undefined }));
    const sample = withBody.get(operation)?.valid;
    const input = inputs[operation]?.(token.account) ?? (sample === undefined ? {} : { body: sample });
    const headers = { ...input.headers, ...(!isPublic && { Authorization: `Bearer ${token.text}` }) };
    return { operation, ...input, headers };
  };

  return {
    next: () => {
      const call = signIn() ?? choose();
      if (CHANGING.includes(call.operation)) changing++;
      return call;
    },
    learn: (call, status, answer) => {
      if (CHANGING.includes(call.operation)) changing--;
      const token = tokenOf(call);
      if (status === 401 && token !== undefined) tokens.splice(tokens.indexOf(token), 1);
      if (status < 200 || status > 299) return;
      const { operation, body = {} } = call;
      const again = others.find(({ name }) => name === operation && !name.startsWith('GET '));
      if (again !== undefined) keep(worked, again);
      const { organization_name, email, password } = body as Readonly<Record<string, string>>;
      learnIds(answer);
      for (const item of Array.isArray(answer['items']) ? answer['items'] : []) learnIds(item as AnswerBody);
      if (operation === 'POST /org/create' && only === undefined && answer['admin_email'] === email) {
        keep(accounts, { name: organization_name ?? '', email: email ?? '', password: password ?? '' });
      }
      const isSignIn = operation === 'POST /admin/login';
      const account = isSignIn
        ? accounts.find((one) => one.email === email && one.password === password)
        : token?.account;
      if (operation === 'PUT /org/update' && answer['dry_run'] === undefined && account !== undefined) {
        account.name = String(answer['organization_name']);
        account.email = email ?? account.email;
      }
      if (typeof answer['access_token'] !== 'string') return;
      keep(tokens, { text: answer['access_token'], account }, most);
    },
  };
}
