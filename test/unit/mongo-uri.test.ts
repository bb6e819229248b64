import { describe, expect, test } from 'vitest';
import { checkMongoUri } from '../../src/store/mongo/uri.ts';

const SECRET = 'hunter2secret';
const BASE = `mongodb://user:${SECRET}@db.example:27017/`;

describe('a MongoDB URI', () => {
  for (const uri of [
    'mongodb://127.0.0.1:27017',
    BASE,
    `${BASE}?retryWrites=true&w=majority&appName=Cluster0`,
    `${BASE}?replicaSet=rs0&tls=true&retryWrites=false&authSource=admin`,
    `${BASE}?readPreference=primary&journal=true&readConcernLevel=local&W=MAJORITY`,
    `mongodb://a:1,b:2,c:3/?replicaSet=rs0`,
    `mongodb+srv://user:${SECRET}@cluster0.abcde.mongodb.net/?retryWrites=true&w=majority`,
  ]) {
    test(`${uri.replace(SECRET, '...')} is accepted`, () => {
      expect(checkMongoUri(uri)).toBeUndefined();
    });
  }

  for (const [name, value] of [
    ['readPreference', 'secondary'],
    ['readPreference', 'primaryPreferred'],
    ['READPREFERENCE', 'nearest'],
    ['readPreferenceTags', 'dc:ny'],
    ['readPreferenceTags', ''],
    ['maxStalenessSeconds', '120'],
    ['journal', 'false'],
    ['j', 'false'],
    ['w', '1'],
    ['w', '0'],
    ['w', 'twoDataCentres'],
    ['readConcernLevel', 'available'],
    ['readConcernLevel', 'linearizable'],
  ] as const) {
    test(`with ${name}=${value} is refused by the option's name`, () => {
      const problem = checkMongoUri(`${BASE}?retryWrites=true&${name}=${value}`);
      expect(problem).toMatch(new RegExp(`^sets the option ${name} .* Remove it`));
      expect(problem).not.toContain(SECRET);
    });
  }

  test.each([
    'raw=true',
    'promoteValues=false',
    'promoteLongs=false',
    'promoteBuffers=true',
    'bsonRegExp=true',
    'fieldsAsRaw=x',
    'serializeFunctions=true',
    'ignoreUndefined=true',
    'IGNOREUNDEFINED=true',
    'ignore%55ndefined=true',
    'checkKeys=false',
    'forceServerObjectId=true',
    'pkFactory=x',
    'autoEncryption=x',
    'serverApi=1',
    'loadBalanced=true',
    'minPoolSize=500',
    'maxPoolSize=500',
    'maxConnecting=500',
    'maxIdleTimeMS=1',
    'waitQueueTimeoutMS=1',
    'socketTimeoutMS=1',
    'timeoutMS=1',
    'wtimeoutMS=1',
    'wtimeout=1',
    'fsync=true',
    'readConcern=majority',
    'writeConcern=majority',
    'serverMonitoringMode=stream',
    'monitorCommands=true',
    'mongodbLogPath=stdout',
    'retryWritez=true',
  ])('with %s is refused by its name, with what is allowed', (option) => {
    const name = decodeURIComponent(option.slice(0, option.indexOf('=')));
    const problem = checkMongoUri(`${BASE}?tls=true&${option}`);
    expect(problem).toMatch(
      new RegExp(`^sets the option ${name} that is not allowed\\. Remove it\\. Allowed are appName, `),
    );
    expect(problem).not.toContain(SECRET);
  });

  // A name with a digit may be a part of the password.
  test.each(['useBigInt64=true', 'enableUtf8Validation=false'])('with %s is refused without its name', (option) => {
    expect(checkMongoUri(`${BASE}?${option}`)).toMatch(
      /^sets the option \(unnamed\) that is not allowed\. Remove it\./,
    );
  });

  test.each([
    'tls=true&tlsCAFile=%2Fca.pem&tlsAllowInvalidHostnames=true',
    'SSL=true&TLSINSECURE=true',
    'authMechanism=SCRAM-SHA-256&authSource=admin&authMechanismProperties=SERVICE_NAME:other',
    'replicaSet=rs0&directConnection=true&appName=ours',
    'compressors=zlib&zlibCompressionLevel=3',
    'connectTimeoutMS=1000&serverSelectionTimeoutMS=1000&heartbeatFrequencyMS=1000',
    'proxyHost=proxy.example&proxyPort=1080&proxyUsername=a&proxyPassword=b',
    'retryReads=false&retryWrites=false',
  ])('with %s is accepted', (options) => {
    expect(checkMongoUri(`${BASE}?${options}`)).toBeUndefined();
  });

  test('with a value that the driver does not take is refused by the name of its option', () => {
    const problem = checkMongoUri(`${BASE}?tls=true&connectTimeoutMS=${SECRET}`);
    expect(problem).toMatch(/^has a wrong option: connectTimeoutMS\./);
    expect(problem).not.toContain(SECRET);
  });

  for (const uri of [
    '',
    'db.example',
    `http://${SECRET}@db.example`,
    `mongodb://user:${SECRET}@`,
    'mongodb://h:99999/',
  ]) {
    test(`that cannot be parsed (${uri.replace(SECRET, '...')}) is refused without a word of it`, () => {
      const problem = checkMongoUri(uri);
      expect(problem).toMatch(/^cannot be parsed\. Write it as mongodb:\/\/user:password@host:port/);
      expect(problem).not.toContain(SECRET);
    });
  }

  test('whose password has a reserved character does not show a part of it', () => {
    for (const password of [`${SECRET}@x`, `a?${SECRET}`, `a?${SECRET}=b`, `a&${SECRET}`, `a?w=${SECRET}`]) {
      const problem = checkMongoUri(`mongodb://user:${password}@db.example/?journal=false`);
      expect(problem).toBeDefined();
      expect(problem).not.toContain(SECRET);
    }
  });
});
