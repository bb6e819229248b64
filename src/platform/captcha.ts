import ipaddr from 'ipaddr.js';
import * as z from 'zod';
import type { Captcha, Log } from '../domain/context.ts';
import { DomainError } from '../domain/errors.ts';

/** Less than a request has. */
const TIMEOUT_MS = 3000;

/** Error codes that say nothing of the token: the secret is wrong, or another site's, or the verifier failed. */
const NOT_THE_TOKEN = ['missing-input-secret', 'invalid-input-secret', 'sitekey-secret-mismatch', 'internal-error'];

const answerSchema = z.object({ success: z.boolean(), 'error-codes': z.array(z.string()).default([]) });

/**
 * A CAPTCHA verifier in the form of Turnstile's siteverify
 * (https://developers.cloudflare.com/turnstile/get-started/server-side-validation/), which reCAPTCHA and hCaptcha share:
 * a form of `secret`, `response` and `remoteip`. Where it gives no answer, nothing is accepted.
 */
export function createCaptcha({ url, secret, log }: { url: string; secret: string; log: Log }): Captcha {
  return {
    verify: async (token, address) => {
      const form = new URLSearchParams({ secret, response: token });
      if (address !== null && ipaddr.isValid(address)) form.set('remoteip', address);
      try {
        const { success, 'error-codes': codes } = answerSchema.parse(await post(url, form));
        const fault = codes.find((code) => NOT_THE_TOKEN.includes(code));
        if (fault !== undefined) throw Object.assign(new Error('The verifier failed.'), { code: fault });
        return success;
      } catch (error) {
        log('warn', 'captcha.unavailable', { error });
        throw new DomainError('unavailable', 'The CAPTCHA cannot be checked at the moment. Try again.');
      }
    },
  };
}

async function post(url: string, form: URLSearchParams): Promise<unknown> {
  // The secret is for this address and no other.
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(url, { method: 'POST', body: form, redirect: 'manual', signal });
  if (response.ok) return response.json();
  await response.body?.cancel();
  throw Object.assign(new Error('The verifier did not answer as it should.'), { code: response.status });
}
