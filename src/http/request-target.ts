/** The request target as the runtime shows it: in origin form (`/path?query`) or as an absolute URL. */
export type TargetOf = (request: Request, env: unknown) => string;

/**
 * The path of a request target as it was sent, neither decoded nor otherwise normalized: a route has one spelling, so
 * that no other one gets past a proxy that meant to close it.
 */
export function pathOf(target: string): string {
  const start = target.startsWith('/') ? 0 : target.indexOf('/', target.indexOf('://') + 3);
  // A target has no fragment (RFC 9112): one that has is all path, which is no route's.
  const end = target.includes('#') ? -1 : target.indexOf('?');
  return target.slice(Math.max(start, 0), end < 0 ? undefined : end);
}
