import { describe, expect, test } from 'vitest';
import { newEmail } from '../../support/caller.ts';
import { until } from '../../support/deadline.ts';
import type { TestEnv } from './test-env.ts';

const BCRYPT = /\$2[abxy]\$\d\d\$/;
const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/;
const STACK = /^\s+at \S|\\n\s+at \S/;
/** With spaces: no id and no token holds one. */
const DRIVER = /E11000 duplicate|duplicate key error|UNIQUE constraint failed|no such table/i;

/** Looks at the log when the other tests of the file have run. */
export function finalChecks({ service, caller, mailbox }: TestEnv): void {
  describe('the log of the service', () => {
    /** Requests whose log lines are known to be there. */
    const makeRequests = async () => {
      const tenant = await caller().signedInTenant();
      await caller().create(tenant.name, tenant);
      await caller().login({ ...tenant, password: caller().newPassword() });
      await caller().request('GET', '/admin/me', { token: `${tenant.token}x` });
      const { json } = await caller().login(tenant);
      const last = await caller().request('POST', '/admin/refresh', { body: { refresh_token: json.refresh_token } });
      const id = last.headers.get('X-Request-Id') ?? '';
      await until('the last request to be in the log', () => (service().logs().includes(id) ? true : undefined));
      return { tenant, logs: service().logs() };
    };

    test('has no hash, token, password, secret, stack or driver’s message', async () => {
      const { logs } = await makeRequests();
      expect(logs).toContain('"event":"request"');
      const secrets = [...caller().secrets, ...caller().refreshTokens, service().jwtSecret];
      expect(secrets.length).toBeGreaterThan(3);
      expect(secrets.filter((secret) => logs.includes(secret))).toEqual([]);
      for (const line of logs.split('\n')) {
        for (const pattern of [BCRYPT, JWT, STACK, DRIVER]) expect(line).not.toMatch(pattern);
      }
    });

    test('has no address of an admin', async () => {
      const { tenant, logs } = await makeRequests();
      const unknown = newEmail();
      await caller().login({ email: unknown, password: caller().newPassword() });
      expect(logs.includes(tenant.email)).toBe(false);
      expect(service().logs().includes(unknown)).toBe(false);
    });

    test('has no token and no recipient of a mail', async () => {
      await makeRequests();
      const mails = await until('a mail', async () => {
        const all = await mailbox().all();
        return all.length > 0 ? all : undefined;
      });
      const logs = service().logs();
      for (const mail of mails) {
        expect(logs.includes(mail.to)).toBe(false);
        const secret = /(?:#token=|Token: )\S+?\.(\S+)/.exec(mail.text)?.[1];
        if (secret !== undefined) expect(logs.includes(secret)).toBe(false);
      }
    });
  });
}
