import {
  MongoError,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from 'mongodb';
import { describe, expect, test } from 'vitest';
import { storeError } from '../../src/store/mongo/errors.ts';
import type { Op, StoreErrorCode } from '../../src/store/port.ts';
import { StoreError } from '../../src/store/port.ts';

const server = (code: number, message = 'words of the server'): MongoServerError =>
  new MongoServerError({ message, errmsg: message, code });

const named = (name: string): MongoError => {
  const error = new MongoError('words of the driver');
  Object.defineProperty(error, 'name', { value: name });
  return error;
};

const CODES: readonly (readonly [number, StoreErrorCode, Op])[] = [
  [11000, 'DuplicateKey', 'insertOne'],
  [26, 'NamespaceNotFound', 'renameCollection'],
  [48, 'NamespaceExists', 'renameCollection'],
  [10334, 'DocumentTooLarge', 'insertOne'],
  [121, 'InvalidArgument', 'insertOne'],
  // A refused privilege is final; a wrong password is an operator's to correct, and nothing happened.
  [13, 'NotPermitted', 'renameCollection'],
  [18, 'Unavailable', 'insertOne'],
  [18, 'Unavailable', 'find'],
  [8000, 'NotPermitted', 'createCollection'],
  [115, 'NotPermitted', 'renameCollection'],
  [117, 'Unavailable', 'renameCollection'],
  [112, 'Unavailable', 'insertOne'],
  // A server that is not the primary any more: certain for what is sent once, not for what the driver sends again.
  [10107, 'Unavailable', 'find'],
  [10107, 'Unavailable', 'renameCollection'],
  [10107, 'Unavailable', 'deleteMany'],
  [10107, 'OutcomeUnknown', 'insertOne'],
  [11600, 'OutcomeUnknown', 'findOneAndUpdate'],
  // The time limit, and a majority that did not answer.
  [50, 'Unavailable', 'find'],
  [50, 'OutcomeUnknown', 'updateOne'],
  [64, 'OutcomeUnknown', 'updateOne'],
  // A code that this adapter does not know.
  [999_999, 'Unavailable', 'find'],
  [999_999, 'OutcomeUnknown', 'insertOne'],
];

describe('an error of MongoDB', () => {
  for (const [code, expected, op] of CODES) {
    test(`${code} of ${op} is ${expected}`, () => {
      expect(storeError(server(code), op).code).toBe(expected);
    });
  }

  test('names the index of a clash', () => {
    const message = 'E11000 duplicate key error collection: d.c index: by_email dup key: { email: "e" }';
    expect(storeError(server(11000, message), 'insertOne')).toMatchObject({ code: 'DuplicateKey', index: 'by_email' });
    expect(storeError(server(11000), 'insertOne')).toMatchObject({ code: 'DuplicateKey', index: '_id_' });
  });

  test('of a write concern means for a write that it may have happened', () => {
    const error = new MongoWriteConcernError({ writeConcernError: { code: 91, errmsg: 'x' }, ok: 1 });
    expect(storeError(error, 'insertOne').code).toBe('OutcomeUnknown');
  });

  test('of Atlas for a wrong password is not one for a refused privilege', () => {
    const error = server(8000);
    error.addErrorLabel('HandshakeError');
    expect(storeError(error, 'createCollection').code).toBe('Unavailable');
  });

  test("does not carry the driver's words", () => {
    expect(storeError(server(13), 'find').message).not.toContain('words of');
    expect(storeError(named('MongoPoolClearedError'), 'find').message).not.toContain('words of');
  });
});

describe("an error of the driver's", () => {
  const selection = new MongoServerSelectionError('words of the driver', {} as never);
  const network = new MongoNetworkError('words of the driver');
  const handshake = new MongoNetworkError('words of the driver', { beforeHandshake: true });
  const CASES: readonly (readonly [string, MongoError, Op, StoreErrorCode])[] = [
    // The driver selects a server again to repeat a write whose reply was lost.
    ['no server to select', selection, 'find', 'Unavailable'],
    ['no server to select', selection, 'insertOne', 'OutcomeUnknown'],
    ['no server to select', selection, 'renameCollection', 'OutcomeUnknown'],
    ['a lost connection', network, 'find', 'Unavailable'],
    ['a lost connection', network, 'insertOne', 'OutcomeUnknown'],
    ['a lost connection', network, 'dropCollection', 'OutcomeUnknown'],
    ['a connection that did not come about', handshake, 'deleteMany', 'Unavailable'],
    ['a connection that did not come about', handshake, 'insertOne', 'OutcomeUnknown'],
    ['a cleared pool', named('MongoPoolClearedError'), 'createCollection', 'Unavailable'],
    ['a cleared pool', named('MongoPoolClearedError'), 'replaceOne', 'OutcomeUnknown'],
    ['no free connection', named('MongoWaitQueueTimeoutError'), 'deleteMany', 'Unavailable'],
    ['another error', named('MongoRuntimeError'), 'find', 'Unavailable'],
    ['another error', named('MongoRuntimeError'), 'insertOne', 'OutcomeUnknown'],
  ];
  for (const [what, error, op, expected] of CASES) {
    test(`${what}, for ${op}, is ${expected}`, () => {
      expect(storeError(error, op).code).toBe(expected);
    });
  }

  test('that is the port’s already stays as it is', () => {
    const own = new StoreError('InvalidArgument', 'Its own words.');
    expect(storeError(own, 'find')).toBe(own);
  });
});
