import { expect, test } from 'vitest';
import { resetPassword } from '../../src/domain/admin/password.ts';
import { verifyEmail } from '../../src/domain/admin/verify-email.ts';
import type { Context } from '../../src/domain/context.ts';
import { acceptInvitation } from '../../src/domain/invitation/accept.ts';
import { refreshSession } from '../../src/domain/session/refresh.ts';
import { logOut } from '../../src/domain/session/sessions.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite/executor.ts';
import { createInstance } from '../support/instance.ts';
import { countingExecutor } from '../support/store-calls.ts';

const ID = '01900000-0000-7000-8000-000000000000';
const SECRET = '0'.repeat(64);
const FAMILY = '0'.repeat(32);
const password = 'a password nobody has';

const VERBS: readonly (readonly [
  name: string,
  token: string,
  call: (context: Context, token: string) => Promise<unknown>,
])[] = [
  ['verifyEmail', `${ID}.${SECRET}`, (context, token) => verifyEmail(context, { token })],
  ['resetPassword', `${ID}.${SECRET}`, (context, token) => resetPassword(context, { token, password })],
  ['acceptInvitation', `${ID}.${SECRET}`, (context, token) => acceptInvitation(context, { token, password })],
  [
    'refreshSession',
    `${ID}.${FAMILY}.${SECRET}`,
    (context, token) => refreshSession(context, { refresh_token: token }),
  ],
  ['logOut', `${ID}.${FAMILY}.${SECRET}`, (context, token) => logOut(context, { refresh_token: token })],
];

const misshapen = (token: string): string[] => [
  '',
  '.',
  '\0',
  `${token}\0`,
  `\0${token.slice(1)}`,
  `${token}\n`,
  `\ud800${token.slice(1)}`,
  `${token.slice(0, -1)}\udc00`,
  token.slice(0, -1),
  `${token}0`,
  `${token}.0`,
  token.toUpperCase().replace('0', 'A'),
  token.replaceAll('.', ''),
  token.replace(/^.{36}/, 'x'.repeat(512)),
  ID,
];

test.each(VERBS)('%s asks the store nothing for a token that has not its form', async (_, token, call) => {
  const counting = countingExecutor(createSqliteExecutor(openSqliteFile(':memory:')));
  const service = createInstance(counting);
  await service.prepare();
  for (const text of misshapen(token)) {
    const { result, calls } = await counting.measure(() =>
      call(service.context, text).catch((error: unknown) => error),
    );
    expect(result, JSON.stringify(text)).toMatchObject({ code: expect.stringMatching(/^invalid_(one_time_)?token$/) });
    expect(calls.count, JSON.stringify(text)).toBe(0);
  }
  const { calls } = await counting.measure(() => call(service.context, token).catch((error: unknown) => error));
  expect(calls.count).toBe(1);
});
