import { createHmac } from 'node:crypto';

type Claims = Readonly<Record<string, unknown>>;

/** What an access token says. */
export function claimsOf(token: string): Claims {
  return decodePart(token.split('.')[1]);
}

/** What an access token's header says. */
export function headerOf(token: string): Claims {
  return decodePart(token.split('.')[0]);
}

/** A token of any header and payload, signed by a secret. */
export function signToken(header: unknown, payload: unknown, secret: string, digest = 'sha256'): string {
  const signed = `${encodePart(header)}.${encodePart(payload)}`;
  return `${signed}.${createHmac(digest, secret).update(signed).digest('base64url')}`;
}

/** A token with the header of another, and a payload of one's own, signed by a secret. */
export const forge = (token: string, payload: unknown, secret: string): string =>
  signToken(headerOf(token), payload, secret);

/** The token's payload under `alg: none`, without a signature. */
export const unsign = (token: string): string => withHeader(token, { alg: 'none', typ: 'JWT' }, '');

/** The token's payload under another header, with a signature as given, or its own. */
export function withHeader(token: string, header: unknown, signature?: string): string {
  const [, payload, own] = token.split('.');
  return `${encodePart(header)}.${payload}.${signature ?? own}`;
}

/** The same token in another spelling: the last character of its signature carries bits that mean nothing. */
export function respell(token: string): string {
  const bytes = Buffer.from(token.split('.')[2] ?? '', 'base64url');
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const stem = token.slice(0, -1);
  const last = [...alphabet].find(
    (character) =>
      character !== token.at(-1) && Buffer.from(`${stem}${character}`.split('.')[2] ?? '', 'base64url').equals(bytes),
  );
  if (last === undefined) throw new Error('This token has one spelling only.');
  return `${stem}${last}`;
}

const encodePart = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

const decodePart = (part = ''): Claims => JSON.parse(Buffer.from(part, 'base64url').toString()) as Claims;
