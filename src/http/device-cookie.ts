import type { Context as HonoContext } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import * as z from 'zod';
import type { DeviceCookie } from '../domain/rate-limit/device-cookie.ts';
import { DEVICE_PREFIX, DEVICE_SECONDS } from '../domain/rate-limit/device-cookie.ts';
import type { Env } from './env.ts';

/** Browsers take a cookie of such a name over TLS only (RFC 6265bis, section 4.1.3.1): nobody on the way can set one. */
const SECURE = '__Secure-';

/** The device cookies that the request brings, of earlier sign-ins. */
export const deviceCookies = (c: HonoContext<Env>): string[] =>
  Object.entries(getCookie(c)).flatMap(([name, value]) =>
    name.startsWith(`${SECURE}${DEVICE_PREFIX}`) ? [value] : [],
  );

/** For /openapi.json: the header of {@link setDeviceCookie}. */
export const deviceCookieHeaders = z.object({
  'set-cookie': z.string().meta({
    description: 'Marks the device: a later sign-in that sends it has a budget of its own. It grants nothing else.',
  }),
});

/**
 * Gives the device the cookie of a verb's result, where it has one. The browser sends it to the sign-in alone, and no
 * script reads it.
 * @returns the result
 */
export function setDeviceCookie<R extends { readonly device_cookie?: DeviceCookie | undefined }>(
  c: HonoContext<Env>,
  result: R,
): R {
  const cookie = result.device_cookie;
  if (cookie === undefined) return result;
  setCookie(c, cookie.name, cookie.value, {
    prefix: 'secure',
    path: '/admin/login',
    maxAge: DEVICE_SECONDS,
    httpOnly: true,
    sameSite: 'Strict',
  });
  return result;
}
