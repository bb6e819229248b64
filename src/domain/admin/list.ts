import type { Needs } from '../context.ts';
import type { Page, PageInput } from '../page.ts';
import { findPage } from '../page.ts';
import type { Principal } from '../session/schema.ts';
import type { AdminView } from './schema.ts';
import { adminView } from './schema.ts';

/** The admins of the principal's organization, in the order in which they were added. */
export async function listAdmins(
  context: Needs<'master'>,
  { principal, ...page }: PageInput & { readonly principal: Principal },
): Promise<Page<AdminView>> {
  const own = { organization_id: principal.organization._id };
  const { items, next_cursor } = await findPage(context.master.admins, own, page);
  return { items: items.map(adminView), next_cursor };
}
