import { expect, test } from 'vitest';
import { repeatUpdate, updateOrganization } from '../../src/domain/organization/update.ts';
import { authenticateOrRepeat } from '../../src/domain/session/authenticate.ts';
import { openSession } from '../../src/domain/session/open-session.ts';
import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { until } from '../support/deadline.ts';
import { createInstance, goneAt, ownerOf } from '../support/instance.ts';

test('a rename asked for again with its token gives its answer, wherever the instance that took it died', async () => {
  const executor = createSqliteExecutor(openSqliteFile(':memory:'));
  const { context, prepare } = createInstance(executor);
  await prepare();

  for (const when of ['before', 'after'] as const) {
    for (let call = 1; ; call++) {
      const owner = await ownerOf(context, `Once ${when} ${call}`);
      const { access_token } = await openSession(context, owner, context.clock());
      const input = {
        new_organization_name: `Again ${when} ${call}`,
        email: `${context.newId()}@example.com`,
      };
      const ask = async (asking: typeof context) => {
        const known = await authenticateOrRepeat(asking, access_token);
        return 'principal' in known
          ? updateOrganization(asking, known.principal, input)
          : repeatUpdate(asking, known.spent, input);
      };
      const dying = goneAt(executor, call, when);
      const first = await ask(createInstance(dying).context).catch(() => undefined);
      // A first repeat may finish the dead one's work and be told that the organization has changed.
      const repeated = await until(
        'the same answer',
        () =>
          ask(context).catch((error: unknown) => {
            expect(error, `${when} call ${call}`).toMatchObject({ code: 'conflict' });
            return undefined;
          }),
        { every: 1 },
      );
      expect(repeated.organization_name).toBe(input.new_organization_name);
      const admin = await context.master.admins.findOne({ _id: owner.admin._id });
      expect(admin?.email).toBe(input.email);
      if (first !== undefined) break;
    }
  }
}, 120_000);
