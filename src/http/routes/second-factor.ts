import * as z from 'zod';
import { beginSecondFactor, confirmSecondFactor, removeSecondFactor } from '../../domain/second-factor/change.ts';
import { routeGroup } from '../route.ts';
import { accessToken, password, secondFactorCode } from '../schemas.ts';

/** One's second factor: /admin/second-factor. */
export function secondFactorRoutes() {
  const { app, route } = routeGroup('Admins');
  route('POST /', {
    summary: 'Get a secret for an authenticator app; it waits until a first code confirms it',
    action: 'account.update',
    body: z.strictObject({ current_password: password }),
    answer: {
      description: 'The secret, good for 15 minutes. One that waited already ends.',
      schema: z.object({
        secret: z.string().meta({ description: 'In base 32 (TOTP: SHA-1, 6 digits, 30 seconds).' }),
        uri: z.string().meta({ description: 'otpauth://, to be shown as a QR code.' }),
      }),
    },
    refusals: [409],
    verb: beginSecondFactor,
  });
  route('POST /confirm', {
    summary: 'Put the second factor in force by its first code; every other session ends',
    action: 'account.update',
    body: z.strictObject({ code: secondFactorCode }),
    answer: {
      description: 'In force: ten recovery codes, shown once, and an access token of the same session.',
      schema: accessToken.extend({ recovery_codes: z.array(z.string()).meta({ description: 'Each is good once.' }) }),
    },
    refusals: [404, 409],
    verb: confirmSecondFactor,
  });
  route('DELETE /', {
    summary: 'Turn the second factor off; every other session ends',
    action: 'account.update',
    description: 'Where no recovery code is left, a recent sign-in takes the place of `code`.',
    body: z.strictObject({ current_password: password, code: secondFactorCode.optional() }),
    answer: { description: 'Off: an access token of the same session.', schema: accessToken },
    refusals: [404, 409],
    verb: removeSecondFactor,
  });
  return app;
}
