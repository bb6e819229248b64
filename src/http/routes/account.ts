import * as z from 'zod';
import { changePassword, forgotPassword, resetPassword } from '../../domain/admin/password.ts';
import { undoChange } from '../../domain/admin/undo.ts';
import { resendVerification, verifyEmail } from '../../domain/admin/verify-email.ts';
import { acceptInvitation } from '../../domain/invitation/accept.ts';
import { deviceCookieHeaders, setDeviceCookie } from '../device-cookie.ts';
import { routeGroup } from '../route.ts';
import { accessToken, email, membership, newPassword, oneTimeToken, organizationName, password } from '../schemas.ts';

/** What the routes that take a token from a mail have alike. */
const BY_TOKEN = { refusals: [401, 409, 429] } as const;
const mailed = z.strictObject({ token: oneTimeToken });

/** One's account, by password or by a token from a mail: /admin/password/*, /verify-email, /accept-invite. */
export function accountRoutes() {
  const { app, route } = routeGroup('Admins');
  route('POST /password/change', {
    summary: 'Change one’s own password; every other session ends',
    action: 'account.update',
    body: z.strictObject({ current_password: password, new_password: newPassword }),
    answer: {
      description: 'Changed: an access token of the same session that ends when the old one would.',
      schema: accessToken,
      headers: deviceCookieHeaders,
    },
    refusals: [409, 429],
    verb: async (context, input, c) => setDeviceCookie(c, await changePassword(context, input)),
  });
  route('POST /password/forgot', {
    summary: 'Ask for a mail with a token to choose a new password',
    description: 'The answer is the same whether the email is known or not.',
    limit: 'mail',
    body: z.strictObject({ email, organization_name: organizationName.optional() }),
    answer: { status: 202, description: 'It will be sent, where there is an account.' },
    verb: forgotPassword,
  });
  route('POST /password/reset', {
    summary: 'Choose a new password with the token from the mail; every earlier sign-in ends',
    ...BY_TOKEN,
    body: mailed.extend({ password: newPassword }),
    answer: { description: 'The password is changed.', headers: deviceCookieHeaders },
    verb: async (context, input, c) => setDeviceCookie(c, await resetPassword(context, input)),
  });
  route('POST /verify-email', {
    summary: 'Show that an email is one’s own, by the token that was sent to it',
    description: 'A new email, where it waited for that, takes effect, and every sign-in ends.',
    ...BY_TOKEN,
    body: mailed,
    answer: { description: 'Verified.', headers: deviceCookieHeaders },
    verb: async (context, input, c) => setDeviceCookie(c, await verifyEmail(context, input)),
  });
  route('POST /undo', {
    summary: 'Undo another email, or a second factor, by the token of the notice; every sign-in ends',
    description:
      'The password is no longer good: then choose a new one by POST /admin/password/forgot. Nobody signs in before.',
    ...BY_TOKEN,
    body: mailed,
    answer: { description: 'The account has its former email, or no second factor, and no password.' },
    verb: undoChange,
  });
  route('POST /verify-email/resend', {
    summary: 'Ask for another token to verify the email; the earlier ones end',
    action: 'account.update',
    limit: 'mail',
    answer: { status: 202, description: 'It will be sent, unless the email is verified.' },
    verb: resendVerification,
  });
  route('POST /accept-invite', {
    summary: 'Become an admin with the token of an invitation; then sign in',
    ...BY_TOKEN,
    body: mailed.extend({ password: newPassword }),
    answer: { description: 'An admin now.', schema: membership, headers: deviceCookieHeaders },
    verb: async (context, input, c) => setDeviceCookie(c, await acceptInvitation(context, input)),
  });
  return app;
}
