import * as z from 'zod';
import { AUDIT_FAULTS } from '../../domain/audit/chain.ts';
import { listAudit } from '../../domain/audit/list.ts';
import { AUDIT_ACTIONS, MAX_SEQUENCE } from '../../domain/audit/schema.ts';
import { verifyAudit } from '../../domain/audit/verify.ts';
import { routeGroup } from '../route.ts';
import { page, pageQuery, timestamp } from '../schemas.ts';

/** A sequence, as the cursors of the log are. */
const sequence = z.coerce.number().int().min(1).max(MAX_SEQUENCE).optional();

const entry = z.object({
  sequence: z.int(),
  at: timestamp,
  actor: z.string().meta({ description: 'An admin’s id, "service", or "anonymous".' }),
  action: z.enum(AUDIT_ACTIONS),
  target: z.string().meta({ description: 'The id of what it was done to.' }),
  address: z.string().nullable().meta({ description: 'The client’s address; null where there was none.' }),
  request_id: z.string(),
  outcome: z.enum(['success', 'failure']),
  count: z.int().meta({ description: 'How many events it stands for: failed sign-ins are counted together.' }),
  seal: z.string(),
});

const check = z.object({
  valid: z.boolean().meta({ description: 'Whether nothing is wrong with the entries checked.' }),
  from: z.int(),
  to: z.int(),
  broken: z
    .object({ sequence: z.int(), fault: z.enum(AUDIT_FAULTS) })
    .nullable()
    .meta({ description: 'Where it breaks first, and how.' }),
  head: z.object({ sequence: z.int(), seal: z.string() }).nullable().meta({
    description: 'The last entry: note it elsewhere, and its seal shows later that it is still there.',
  }),
  next_cursor: z.string().nullable().meta({ description: 'null: the whole log was checked, or it is broken.' }),
});

/** The organization's log: /org/audit. */
export function auditRoutes() {
  const { app, route } = routeGroup('Audit');
  route('GET /', {
    summary: 'Who did what, the newest first',
    action: 'audit.read',
    query: z.strictObject({
      from: timestamp.optional(),
      to: timestamp.optional(),
      action: z.enum(AUDIT_ACTIONS).optional(),
      cursor: sequence.meta({ description: '`next_cursor` of the page before.' }),
      limit: pageQuery.shape.limit,
    }),
    answer: {
      description: 'A page of the log. With a filter it may be short, and yet not the last.',
      schema: page(entry),
    },
    refusals: [429],
    verb: listAudit,
  });
  route('GET /verify', {
    summary: 'Whether the log is as it was written: nothing altered, added, removed, reordered or cut off',
    action: 'audit.read',
    limit: 'inspect',
    query: z.strictObject({ cursor: sequence.meta({ description: '`next_cursor` of the call before.' }) }),
    answer: { description: 'What was found in the next 500 entries.', schema: check },
    verb: verifyAudit,
  });
  return app;
}
