import * as z from 'zod';
import { hasSecondFactor, recoveryCodesLeft } from '../../domain/second-factor/schema.ts';
import { logIn } from '../../domain/session/log-in.ts';
import { refreshSession } from '../../domain/session/refresh.ts';
import { endSession, listSessions, logOut, logOutEverywhere } from '../../domain/session/sessions.ts';
import { deviceCookieHeaders, setDeviceCookie } from '../device-cookie.ts';
import { routeGroup } from '../route.ts';
import {
  email,
  membership,
  organizationName,
  page,
  pageQuery,
  password,
  secondFactorCode,
  session,
  tokens,
} from '../schemas.ts';

const refreshToken = z.strictObject({ refresh_token: z.string().min(1).max(256) });

/** Signing in and out, and one's sessions: /admin/login, /refresh, /logout, /logout-all, /sessions, /me. */
export function adminRoutes() {
  const { app, route } = routeGroup('Admins');
  route('POST /login', {
    summary: 'Sign in',
    description:
      'An admin with a second factor sends `code` too. Without it, a correct password is answered 401 second_factor_required.',
    body: z.strictObject({
      email,
      password,
      organization_name: organizationName.optional(),
      code: secondFactorCode.optional(),
    }),
    answer: {
      description: 'Signed in.',
      schema: tokens.extend({ admin_id: z.string(), admin_email: z.string(), organization: z.string() }),
      headers: deviceCookieHeaders,
    },
    refusals: [401, 409, 429],
    verb: async (context, input, c) => setDeviceCookie(c, await logIn(context, input)),
  });
  route('POST /refresh', {
    summary: 'Trade a refresh token for fresh tokens; each is good once',
    limit: 'refresh',
    body: refreshToken,
    answer: { description: 'Fresh tokens.', schema: tokens },
    refusals: [401],
    verb: refreshSession,
  });
  route('POST /logout', {
    summary: 'End the session of a refresh token',
    body: refreshToken,
    answer: { description: 'Ended, or not there.' },
    refusals: [401],
    verb: logOut,
  });
  route('POST /logout-all', {
    summary: 'End all of one’s sessions, this one too',
    action: 'account.update',
    takesAway: true,
    answer: { description: 'Ended; the tokens from before have ended with them.' },
    verb: logOutEverywhere,
  });
  route('GET /sessions', {
    summary: 'One’s sessions that are in force',
    action: 'account.read',
    query: pageQuery,
    answer: { description: 'A page of them, in the order in which they began.', schema: page(session) },
    verb: listSessions,
  });
  route('DELETE /sessions', {
    summary: 'End one of one’s sessions',
    action: 'account.update',
    takesAway: true,
    query: z.strictObject({ session_id: z.uuid() }),
    answer: { description: 'Ended, or not there.' },
    verb: endSession,
  });
  route('GET /me', {
    summary: 'Whose the token is',
    action: 'account.read',
    answer: {
      description: 'The admin.',
      schema: membership.extend({
        email_verified: z.boolean(),
        second_factor: z.boolean(),
        recovery_codes_left: z.int().optional().meta({ description: 'Left out where there is no second factor.' }),
      }),
    },
    verb: async (_, { principal: { admin, organization } }) => ({
      admin_id: admin._id,
      admin_email: admin.email,
      email_verified: admin.email_verified,
      second_factor: hasSecondFactor(admin),
      recovery_codes_left: recoveryCodesLeft(admin),
      role: admin.role,
      organization_id: organization._id,
      organization: organization.name,
    }),
  });
  return app;
}
