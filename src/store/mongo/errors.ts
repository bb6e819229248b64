import {
  MongoError,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from 'mongodb';
import type { Op, StoreErrorCode } from '../port.ts';
import { lostReply, StoreError } from '../port.ts';

/** The server's codes that the adapter asks for by name (MongoDB source, error_codes.yml). */
export const MONGO_CODE = {
  unauthorized: 13,
  namespaceNotFound: 26,
  namespaceExists: 48,
} as const;

const CODES: Readonly<Record<StoreErrorCode, readonly number[]>> = {
  DuplicateKey: [11000, 11001, 12582],
  NamespaceNotFound: [26],
  NamespaceExists: [48],
  DocumentTooLarge: [10334, 17419, 17420, 17280],
  // BadValue and its kin by type, path or definition of an index; 121 by a validator; 16837 and 40 by a path.
  InvalidArgument: [2, 9, 14, 16, 28, 40, 52, 57, 66, 67, 73, 85, 86, 121, 16837, 17009],
  // Unauthorized, IllegalOperation, CommandNotFound, InvalidOptions, CommandNotSupported, CommandNotSupportedOnView,
  // NotImplemented; 8000 is Atlas's own, for what a plan does not allow.
  NotPermitted: [13, 20, 59, 72, 115, 166, 238, 8000],
  // 18, AuthenticationFailed: a connection that could not be opened; an operator has to act, and nothing happened.
  Unavailable: [18, 91, 112, 117, 189, 215, 251, 262, 402, 433, 449, 10107, 11600, 11602, 13435, 13436],
  OutcomeUnknown: [50, 64],
};

const CODE_OF = new Map<number, StoreErrorCode>(
  Object.entries(CODES).flatMap(([code, numbers]) =>
    numbers.map((number) => [number, code as StoreErrorCode] as const),
  ),
);

/** Sent by a server that does not run the command, or not now: says nothing about what an earlier attempt did. */
const REFUSED_BEFORE_RUNNING: ReadonlySet<number> = new Set([
  91, 189, 262, 402, 433, 449, 10107, 11600, 11602, 13435, 13436,
]);

/** Errors of the driver for a command that it did not send, or did not send again. */
const NOT_SENT: ReadonlySet<string> = new Set([
  'MongoPoolClearedError',
  'MongoPoolClosedError',
  'MongoWaitQueueTimeoutError',
  'MongoServerSelectionError',
  'MongoTopologyClosedError',
  'MongoNotConnectedError',
]);

/**
 * Writes that the driver repeats once after a lost reply. What the second attempt meets does not tell what became of
 * the first.
 */
const REPEATED: ReadonlySet<Op> = new Set<Op>([
  'insertOne',
  'updateOne',
  'findOneAndUpdate',
  'replaceOne',
  'deleteOne',
]);

const MESSAGES: Readonly<Record<StoreErrorCode, string>> = {
  DuplicateKey: 'The key exists already.',
  NamespaceNotFound: 'The collection does not exist.',
  NamespaceExists: 'The new name is in use.',
  DocumentTooLarge: 'The document is too large.',
  InvalidArgument: 'The command does not fit the stored document.',
  NotPermitted: 'The server refuses this operation.',
  Unavailable: 'The database is not available.',
  OutcomeUnknown: 'The database did not answer. The operation may have been done.',
};

export const isCode = (error: unknown, ...codes: number[]): boolean =>
  error instanceof MongoServerError && typeof error.code === 'number' && codes.includes(error.code);

/** Whether a server that works well refused this command for what is in it, and would again. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof MongoServerError &&
  typeof error.code === 'number' &&
  !['Unavailable', 'OutcomeUnknown', 'NotPermitted'].includes(CODE_OF.get(error.code) ?? '');

/** The index of a clash, from the server's message: the one place where every server names it. */
const duplicateIndex = (message: string): string =>
  /index: (?:[^\s]+\$)?([A-Za-z0-9_]+?) dup key/.exec(message)?.[1] ?? '_id_';

/** An error without a cause of the driver's, in the port's words. */
export const errorOf = (code: StoreErrorCode, cause?: unknown): StoreError =>
  new StoreError(code, MESSAGES[code], { cause });

/** The driver's error in the port's words. `op` tells whether a lost reply can have hidden an effect. */
export function storeError(error: unknown, op: Op): StoreError {
  if (error instanceof StoreError) return error;
  const code = codeOf(error, op);
  if (code !== 'DuplicateKey') return errorOf(code, error);
  return new StoreError(code, MESSAGES[code], { cause: error, index: duplicateIndex((error as Error).message) });
}

function codeOf(error: unknown, op: Op): StoreErrorCode {
  const lost = lostReply(op);
  if (error instanceof MongoWriteConcernError) return lost;
  // The encoder's own errors come before anything is sent.
  if (error instanceof RangeError && /out of range|offset/i.test(error.message)) return 'DocumentTooLarge';
  if (!(error instanceof MongoError)) return lost;
  if (NOT_SENT.has(error.name) || (error as { beforeHandshake?: boolean }).beforeHandshake === true) {
    // For a write that is sent once only, selecting a server comes before it; for the others, perhaps after it.
    return error instanceof MongoServerSelectionError || REPEATED.has(op) ? lost : 'Unavailable';
  }
  if (error instanceof MongoNetworkError) return lost;
  if (error instanceof MongoServerError && typeof error.code === 'number') {
    if (REPEATED.has(op) && REFUSED_BEFORE_RUNNING.has(error.code)) return lost;
    // A connection that was refused, whose password is wrong: Atlas says 8000 of that too.
    if (error.hasErrorLabel('HandshakeError')) return 'Unavailable';
    const known = CODE_OF.get(error.code);
    return known === undefined || known === 'OutcomeUnknown' ? lost : known;
  }
  return /larger than|maxBsonObjectSize|too large/i.test(error.message) ? 'DocumentTooLarge' : lost;
}
