import type { OpenAPIHono } from '@hono/zod-openapi';
import { createRoute } from '@hono/zod-openapi';
import * as z from 'zod';
import { forgotPassword, resetPassword } from '../../domain/admin/reset-password.ts';
import { resendVerification, verifyEmail } from '../../domain/admin/verify-email.ts';
import { authenticated } from '../authenticated.ts';
import type { Env } from '../env.ts';
import { boundedBody, jsonBody } from '../json-body.ts';
import { body, email, newPassword, oneTimeToken, organizationName, problems } from '../schemas.ts';
import { throttled } from '../throttled.ts';

/** What an admin does by mail: /admin/verify-email, /admin/password/forgot, /admin/password/reset. */
export function accountMailRoutes(app: OpenAPIHono<Env>): void {
  const verify = createRoute({
    method: 'post',
    path: '/admin/verify-email',
    tags: ['Admins'],
    summary: 'Show that an email is one’s own, by the token that was sent to it',
    middleware: [boundedBody, jsonBody] as const,
    request: { body: body(z.strictObject({ token: oneTimeToken })) },
    responses: { 204: { description: 'Verified.' }, ...problems(400, 401, 413, 415, 422) },
  });
  app.openapi(verify, async (c) => {
    await verifyEmail(c.get('context'), c.req.valid('json'));
    return c.body(null, 204);
  });

  const resend = createRoute({
    method: 'post',
    path: '/admin/verify-email/resend',
    tags: ['Admins'],
    summary: 'Have another token sent to verify the email with; those from before end',
    security: [{ bearer: [] }],
    middleware: [authenticated('account.update'), throttled('mail')] as const,
    responses: { 202: { description: 'It will be sent, unless the email is verified.' }, ...problems(401, 403, 429) },
  });
  app.openapi(resend, async (c) => {
    await resendVerification(c.get('context'), c.get('principal'));
    return c.body(null, 202);
  });

  const forgot = createRoute({
    method: 'post',
    path: '/admin/password/forgot',
    tags: ['Admins'],
    summary: 'Have a token sent to choose a new password with',
    description: 'The answer is the same whether the email is known or not.',
    middleware: [boundedBody, jsonBody, throttled('mail')] as const,
    request: { body: body(z.strictObject({ email, organization_name: organizationName.optional() })) },
    responses: {
      202: { description: 'It will be sent, where there is an account.' },
      ...problems(400, 413, 415, 422, 429),
    },
  });
  app.openapi(forgot, async (c) => {
    await forgotPassword(c.get('context'), c.req.valid('json'));
    return c.body(null, 202);
  });

  const reset = createRoute({
    method: 'post',
    path: '/admin/password/reset',
    tags: ['Admins'],
    summary: 'Choose a new password, by the token that was sent for it; every sign-in from before ends',
    middleware: [boundedBody, jsonBody] as const,
    request: { body: body(z.strictObject({ token: oneTimeToken, password: newPassword })) },
    responses: { 204: { description: 'The password is changed.' }, ...problems(400, 401, 409, 413, 415, 422) },
  });
  app.openapi(reset, async (c) => {
    await resetPassword(c.get('context'), c.req.valid('json'));
    return c.body(null, 204);
  });
}
