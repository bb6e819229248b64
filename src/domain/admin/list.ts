import type { Context } from '../context.ts';
import type { Page, PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import type { Principal } from '../session/authenticate.ts';
import type { AdminView } from './admin.ts';
import { adminView } from './admin.ts';

/** The admins of the principal's organization, in the order in which they came. */
export async function listAdmins(context: Context, principal: Principal, input: PageInput): Promise<Page<AdminView>> {
  const { items, next_cursor } = await findPage(
    context.master.admins,
    { organization_id: principal.organization._id },
    input,
  );
  return { items: items.map(adminView), next_cursor };
}
