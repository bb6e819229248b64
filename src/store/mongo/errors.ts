import type { WriteError } from 'mongodb';
import {
  MongoBulkWriteError,
  MongoError,
  MongoNetworkError,
  MongoOperationTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from 'mongodb';
import type { Op, StoreErrorCode } from '../port.ts';
import { StoreError } from '../port.ts';

/** The server's codes that mean something to the port (MongoDB source, error_codes.yml). */
export const MONGO_CODE = {
  duplicateKey: 11000,
  namespaceNotFound: 26,
  namespaceExists: 48,
  badValue: 2,
  /** NotImplemented, CommandNotSupported, InvalidIndexSpecificationOption, CannotCreateIndex. */
  unsupported: [238, 115, 197, 67],
} as const;

const CODES: Readonly<Record<StoreErrorCode, readonly number[]>> = {
  DuplicateKey: [11000, 11001, 12582],
  NamespaceNotFound: [26],
  NamespaceExists: [48],
  DocumentTooLarge: [10334, 17419, 17420, 17280],
  // BadValue, UnknownError's kin by type, path or definition of an index; 16837 and 40 by a path.
  InvalidArgument: [2, 9, 14, 16, 28, 40, 52, 57, 66, 67, 73, 85, 86, 121, 16837, 17009],
  // Unauthorized, AuthenticationFailed, IllegalOperation, CommandNotFound, CommandNotSupported, InvalidOptions,
  // CommandNotSupportedOnView, NotImplemented.
  NotPermitted: [13, 18, 20, 59, 115, 72, 166, 238],
  Unavailable: [91, 189, 262, 10107, 11600, 11602, 13435, 13436, 402, 433, 449, 112, 251, 117, 215],
  OutcomeUnknown: [50, 64],
};

const CODE_OF = new Map<number, StoreErrorCode>(
  Object.entries(CODES).flatMap(([code, numbers]) =>
    numbers.map((number) => [number, code as StoreErrorCode] as const),
  ),
);

const MESSAGES: Readonly<Record<StoreErrorCode, string>> = {
  DuplicateKey: 'The key is there already.',
  NamespaceNotFound: 'The collection is not there.',
  NamespaceExists: 'The new name is in use.',
  DocumentTooLarge: 'The document is too large.',
  InvalidArgument: 'The command does not fit the stored document.',
  NotPermitted: 'The server refuses this operation.',
  Unavailable: 'The database is away.',
  OutcomeUnknown: 'The database did not answer: it may have been done.',
};

const READS: ReadonlySet<Op> = new Set<Op>(['ping', 'find', 'count', 'listCollections', 'digestDocuments']);

export const isCode = (error: unknown, ...codes: number[]): boolean =>
  error instanceof MongoServerError && typeof error.code === 'number' && codes.includes(error.code);

/** What clashed of several inserts, each with its place in their list. @throws the error, when it is of another kind */
export function clashesIn(error: unknown): WriteError[] {
  if (!(error instanceof MongoBulkWriteError)) throw error;
  const failures = Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors];
  const concern = error.result.getWriteConcernError();
  if (concern !== undefined || failures.length === 0) throw error;
  if (failures.some(({ code }) => code !== MONGO_CODE.duplicateKey)) throw error;
  return failures;
}

/** The index of a clash, from the server's message: the one place where every server names it. */
export const duplicateIndex = (message: string | undefined): string =>
  /index: (?:[^\s]+\$)?([A-Za-z0-9_]+?) dup key/.exec(message ?? '')?.[1] ?? '_id_';

/** The driver's error in the port's words. `op` tells whether a lost reply can have hidden an effect. */
export function storeError(error: unknown, op: Op): StoreError {
  if (error instanceof StoreError) return error;
  const code = codeOf(error, op);
  const index = code === 'DuplicateKey' ? duplicateIndex((error as Error).message) : undefined;
  return new StoreError(code, MESSAGES[code], { cause: error, ...(index !== undefined && { index }) });
}

function codeOf(error: unknown, op: Op): StoreErrorCode {
  const lost: StoreErrorCode = READS.has(op) ? 'Unavailable' : 'OutcomeUnknown';
  if (error instanceof MongoServerSelectionError) return 'Unavailable';
  if (error instanceof MongoWriteConcernError) return lost;
  if (error instanceof MongoBulkWriteError && error.result.getWriteConcernError() !== undefined) return lost;
  if (error instanceof MongoNetworkError || error instanceof MongoOperationTimeoutError) {
    // Before a connection stood, nothing can have been sent.
    return (error as { beforeHandshake?: boolean }).beforeHandshake === true ? 'Unavailable' : lost;
  }
  // FerretDB tells a clash in an update by the words of the SQLite below.
  if (error instanceof MongoServerError && /UNIQUE constraint failed/.test(error.message)) return 'DuplicateKey';
  if (error instanceof MongoServerError && typeof error.code === 'number') {
    const known = CODE_OF.get(error.code);
    if (known === 'OutcomeUnknown') return lost;
    return known ?? lost;
  }
  if (error instanceof MongoError) {
    const { name, message } = error;
    if (
      name === 'MongoPoolClearedError' ||
      name === 'MongoWaitQueueTimeoutError' ||
      name === 'MongoTopologyClosedError' ||
      name === 'MongoNotConnectedError' ||
      name === 'MongoClientClosedError'
    ) {
      return 'Unavailable';
    }
    if (/larger than|maxBsonObjectSize|too large/i.test(message)) return 'DocumentTooLarge';
    return lost;
  }
  // The encoder's own errors come before anything is sent.
  if (error instanceof RangeError && /out of range|offset/i.test(error.message)) return 'DocumentTooLarge';
  return lost;
}
