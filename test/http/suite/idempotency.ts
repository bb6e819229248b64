import { describe, expect, test } from 'vitest';
import { newEmail, newName } from '../../support/caller.ts';
import { expectProblem } from '../../support/problem.ts';
import type { TestEnv } from './test-env.ts';

export function idempotencySuite({ caller }: TestEnv): void {
  const create = (key: string, body: Readonly<Record<string, string>>) =>
    caller().request('POST', '/org/create', { headers: { 'Idempotency-Key': key }, body });
  const newBody = () => ({ organization_name: newName(), email: newEmail(), password: caller().newPassword() });

  describe('an Idempotency-Key', () => {
    test('gives the first answer again', async () => {
      const body = newBody();
      const first = await create(body.email, body);
      expect(first.status, first.text).toBe(200);
      const again = await create(body.email, body);
      expect([again.status, again.json]).toEqual([200, first.json]);
      expectProblem(await create(newEmail(), body), 409, 'organization_name_taken');
    });

    test.each([
      ['name', () => ({ organization_name: newName() })],
      ['email', () => ({ email: newEmail() })],
    ])('with another %s is refused', async (_, changed) => {
      const body = newBody();
      expect((await create(body.email, body)).status).toBe(200);
      expectProblem(await create(body.email, { ...body, ...changed() }), 422, 'idempotency_key_reused');
    });

    test('with another password gives the first answer, and the first password stays', async () => {
      const body = newBody();
      const first = await create(body.email, body);
      const again = await create(body.email, { ...body, password: caller().newPassword() });
      expect([again.status, again.json]).toEqual([200, first.json]);
      expect((await caller().login(body)).status).toBe(200);
    });

    test('of a refused request is good for another try', async () => {
      const holder = await caller().signedInTenant();
      const body = { ...newBody(), organization_name: holder.name };
      expectProblem(await create(body.email, body), 409, 'organization_name_taken');
      expect((await caller().remove(holder.token, holder.name)).status).toBe(200);
      expect((await create(body.email, body)).status).toBe(200);
    });

    test('used by ten at once makes one organization, with one answer', async () => {
      const body = newBody();
      const answers = await Promise.all(Array.from({ length: 10 }, () => create(body.email, body)));
      const created = answers.filter(({ status }) => status === 200).map(({ json }) => json);
      expect(new Set(created.map(({ organization_id }) => organization_id)).size).toBe(1);
      for (const answer of answers) {
        if (answer.status !== 200) expectProblem(answer, 409, 'idempotency_key_in_use');
      }
      expect((await create(body.email, body)).json).toEqual(created[0]);
      expect((await caller().get(body.organization_name)).json.organization_id).toBe(created[0].organization_id);
    });
  });
}
