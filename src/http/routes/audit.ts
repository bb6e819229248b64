import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import { BEYOND } from '../../domain/audit/chain.ts';
import { AUDIT_ACTIONS } from '../../domain/audit/event.ts';
import { listAudit } from '../../domain/audit/list.ts';
import { verifyAudit } from '../../domain/audit/verify.ts';
import { authenticated } from '../authenticated.ts';
import type { Env } from '../env.ts';
import { json, page, pageQuery, problems, timestamp } from '../schemas.ts';

/** A sequence, as the cursors of the log are. */
const sequence = z.coerce.number().int().min(1).max(BEYOND).optional();

const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

const entry = z.object({
  sequence: z.int(),
  at: timestamp,
  actor: z.string().meta({ description: 'An admin’s id, "service", or "anonymous".' }),
  action: z.enum(AUDIT_ACTIONS),
  target: z.string().meta({ description: 'The id of what it was done to.' }),
  address: z.string().nullable().meta({ description: 'The client’s address; null where there was none.' }),
  request_id: z.string(),
  outcome: z.enum(['success', 'failure']),
  count: z.int().meta({ description: 'How many alike it stands for: failed sign-ins are counted together.' }),
  seal: z.string(),
});

/** The organization's log: /org/audit, /org/audit/verify. */
export function auditRoutes(app: OpenAPIHono<Env>): void {
  const list = createRoute({
    method: 'get',
    path: '/org/audit',
    tags: ['Audit'],
    summary: 'Who did what, the newest first',
    security: [{ bearer: [] }],
    middleware: [authenticated('audit.read')] as const,
    request: {
      query: z.strictObject({
        from: time.optional().meta({ type: 'string', format: 'date-time' }),
        to: time.optional().meta({ type: 'string', format: 'date-time' }),
        action: z.enum(AUDIT_ACTIONS).optional(),
        cursor: sequence.meta({ description: '`next_cursor` of the page before.' }),
        limit: pageQuery.shape.limit,
      }),
    },
    responses: {
      200: json('A page of the log. With a filter it may be short, and yet not the last.', page(entry)),
      ...problems(401, 403, 422),
    },
  });
  app.openapi(list, async (c) => {
    const { items, next_cursor } = await listAudit(c.get('context'), c.get('principal'), c.req.valid('query'));
    c.header('Cache-Control', 'no-store');
    return c.json({ items: items.map(({ at, ...item }) => ({ ...item, at: at.toISOString() })), next_cursor }, 200);
  });

  const verify = createRoute({
    method: 'get',
    path: '/org/audit/verify',
    tags: ['Audit'],
    summary: 'Whether the log is as it was written: nothing altered, added, removed, reordered or cut off',
    security: [{ bearer: [] }],
    middleware: [authenticated('audit.read')] as const,
    request: {
      query: z.strictObject({ cursor: sequence.meta({ description: '`next_cursor` of the call before.' }) }),
    },
    responses: {
      200: json(
        'What was found in the next 500 entries.',
        z.object({
          whole: z.boolean().meta({ description: 'Whether nothing is wrong with the entries checked.' }),
          from: z.int(),
          to: z.int(),
          broken: z
            .object({
              sequence: z.int(),
              fault: z.enum(['missing', 'altered', 'moved', 'unlinked', 'truncated', 'head_lost']),
            })
            .nullable()
            .meta({ description: 'Where it breaks first, and how.' }),
          head: z.object({ sequence: z.int(), seal: z.string() }).nullable().meta({
            description: 'The last entry: note it elsewhere, and its seal shows later that it is still there.',
          }),
          next_cursor: z.string().nullable().meta({ description: 'null: the whole log was checked, or it is broken.' }),
        }),
      ),
      ...problems(401, 403, 422),
    },
  });
  app.openapi(verify, async (c) => {
    c.header('Cache-Control', 'no-store');
    return c.json(await verifyAudit(c.get('context'), c.get('principal'), c.req.valid('query')), 200);
  });
}
