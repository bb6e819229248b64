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

  test('with an option that the driver does not know is refused by its name', () => {
    expect(checkMongoUri(`${BASE}?tls=true&retryWritez=true`)).toMatch(/^has a wrong option: retryWritez\./);
    expect(checkMongoUri(`${BASE}?maxPoolSize=${SECRET}`)).toMatch(/^has a wrong option: maxPoolSize\./);
    expect(checkMongoUri(`${BASE}?maxPoolSize=${SECRET}`)).not.toContain(SECRET);
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
