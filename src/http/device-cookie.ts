import type { Context as HonoContext } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import type { DeviceMark } from '../domain/throttle/device.ts';
import { DEVICE_PREFIX, DEVICE_SECONDS } from '../domain/throttle/device.ts';
import type { Env } from './env.ts';

/** The marks that a device brings of its earlier sign-ins. */
export const deviceMarks = (c: HonoContext<Env>): string[] =>
  Object.entries(getCookie(c)).flatMap(([name, value]) => (name.startsWith(DEVICE_PREFIX) ? [value] : []));

/** Gives the device a mark to keep. It is sent to the sign-in alone, and no script reads it. */
export const keepDeviceMark = (c: HonoContext<Env>, { name, value }: DeviceMark): void =>
  setCookie(c, name, value, {
    path: '/admin/login',
    maxAge: DEVICE_SECONDS,
    httpOnly: true,
    secure: true,
    sameSite: 'Strict',
  });
