import type { Log } from '../domain/context.ts';

/**
 * A log of JSON lines. Errors are told by name, code and place only: a message or a stack may hold what a caller
 * typed, or a driver's words.
 * @param write takes one line, without its end
 */
export function createLog(write: (line: string) => void): Log {
  return (level, event, particulars = {}) => {
    const told = Object.entries(particulars).map(([name, value]) => [
      name,
      value instanceof Error ? describeError(value) : value,
    ]);
    write(JSON.stringify({ time: new Date().toISOString(), level, event, ...Object.fromEntries(told) }));
  };
}

function describeError(error: Error): Record<string, unknown> {
  const { code } = error as { code?: unknown };
  const place = /[\\/( ]([\w.-]+\.[jt]s:\d+)/.exec(error.stack ?? '')?.[1];
  return {
    name: error.name,
    ...((typeof code === 'string' || typeof code === 'number') && { code }),
    ...(place !== undefined && { place }),
    ...(error.cause instanceof Error && { cause: describeError(error.cause) }),
  };
}
