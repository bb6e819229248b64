import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Environment } from '../../src/config.ts';
import { ConfigError, parseConfig, variableTable } from '../../src/config.ts';
import { exampleFile, helpText, markdownTable } from '../../src/entry/variables.ts';
import { REPOSITORY } from '../support/install.ts';

const SECRET = 'a secret of the tests, of 32 bytes and more';

function problemsOf(environment: Environment): readonly string[] {
  try {
    parseConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('the configuration', () => {
  test('needs nothing: left out, everything has its default', () => {
    expect(parseConfig({})).toMatchObject({
      MASTER_DB: 'master_db',
      HOST: '127.0.0.1',
      PORT: 8000,
      BCRYPT_COST: 10,
    });
    for (const name of ['MONGO_URI', 'TENANTS_DB']) expect(parseConfig({})).not.toHaveProperty(name);
  });

  test('takes an empty variable for one left out', () => {
    expect(parseConfig({ MONGO_URI: '', PORT: ' ' })).toEqual(parseConfig({}));
  });

  test('names every variable that is wrong, at once, and no value', () => {
    const wrong = {
      MONGO_URI: 'http://user:hunter2@example.com',
      MASTER_DB: 'a/b',
      JWT_SECRET: 'tooshort',
      JWT_ALGORITHM: 'none',
      JWT_EXP_MINUTES: '1e3',
      AUDIT_SECRET: `${SECRET}, tooshort`,
      PORT: '65536',
      BCRYPT_COST: '4',
      TRUSTED_PROXIES: '10.0.0.0/8, 010.0.0.1',
      LIMIT_LOGIN_ADDRESS: '10',
      LIMIT_LOGIN_ACCOUNT: '0/60',
      LIMIT_CREATE: '10/0',
      LIMIT_MAIL: 'none',
      LIMIT_REFRESH: '-1/60',
      SIGNUP: 'invite',
      ORG_LOOKUP: 'nobody',
      RESERVED_NAMES: 'Acme, --',
    };
    const problems = problemsOf(wrong);
    for (const name of Object.keys(wrong)) {
      expect(problems.filter((problem) => problem.startsWith(`${name} `))).toHaveLength(1);
    }
    for (const secret of ['hunter2', wrong.JWT_SECRET]) expect(problems.join('\n')).not.toContain(secret);
  });

  test('wants a secret of its own with MONGO_URI, and says how to make one', () => {
    const [problem, ...others] = problemsOf({ MONGO_URI: 'mongodb://127.0.0.1' });
    expect(others).toEqual([]);
    expect(problem).toMatch(/^JWT_SECRET .*openssl rand/);
    expect(problemsOf({ MONGO_URI: 'mongodb://127.0.0.1', JWT_SECRET: SECRET })).toEqual([]);
  });

  test('wants a private key with an algorithm that signs with one, and a secret beside the keys', () => {
    const [problem, ...others] = problemsOf({ JWT_ALGORITHM: 'EdDSA' });
    expect(others).toEqual([]);
    expect(problem).toMatch(/^JWT_SECRET .*openssl genpkey -algorithm ed25519/);
    expect(problemsOf({ JWT_ALGORITHM: 'EdDSA', JWT_KEYS: 'file:keys.json' })).toEqual([]);
    const shared = { MONGO_URI: 'mongodb://127.0.0.1', JWT_KEYS: 'file:keys.json' };
    expect(problemsOf(shared)).toEqual([expect.stringMatching(/^JWT_SECRET .*openssl rand/)]);
    expect(problemsOf({ ...shared, JWT_SECRET: 'file:secret' })).toEqual([]);
  });

  test('takes a limit as count/seconds or off, and proxies as addresses and networks', () => {
    const { LIMIT_CREATE, LIMIT_MAIL, TRUSTED_PROXIES } = parseConfig({
      LIMIT_CREATE: 'off',
      LIMIT_MAIL: '7/3600',
      TRUSTED_PROXIES: '10.0.0.0/8, 192.0.2.1,2001:db8::/32,::1',
    });
    expect(LIMIT_CREATE).toBe(null);
    expect(LIMIT_MAIL).toEqual({ count: 7, seconds: 3600 });
    expect(TRUSTED_PROXIES).toEqual(['10.0.0.0/8', '192.0.2.1', '2001:db8::/32', '::1']);
    for (const value of Object.values(parseConfig({}))) expect(value).not.toBe(null);
    for (const wrong of ['10.0.0.0/33', '::/129', 'proxy.example.com', '10.0.0.1,,10.0.0.2', '10/8']) {
      expect(problemsOf({ TRUSTED_PROXIES: wrong })).toHaveLength(1);
    }
  });

  test('wants keys that nobody guesses for sign-up by key, and none where sign-up is open', () => {
    const missing = problemsOf({ SIGNUP: 'key' });
    expect(missing).toEqual([expect.stringMatching(/^SIGNUP_KEYS is missing.*openssl rand/)]);
    const key = 'a-key-of-16-characters';
    const { SIGNUP_KEYS } = parseConfig({ SIGNUP: 'key', SIGNUP_KEYS: `${key} , ${key}s` });
    expect(SIGNUP_KEYS).toEqual([key, `${key}s`]);
    expect(problemsOf({ SIGNUP: 'closed', SIGNUP_KEYS: key })).toEqual([]);
    expect(problemsOf({ SIGNUP_KEYS: key })).toEqual([
      expect.stringMatching(/^SIGNUP_KEYS is set, and SIGNUP is open/),
    ]);
    for (const wrong of [
      'x'.repeat(15),
      `${key},,${key}`,
      `${key},`,
      'a key with some spaces',
      'file:/run/secrets/keys',
    ]) {
      expect(problemsOf({ SIGNUP: 'key', SIGNUP_KEYS: wrong })).toEqual([
        expect.stringMatching(/^SIGNUP_KEYS must be/),
      ]);
    }
  });

  test('wants the address and the secret of a CAPTCHA verifier together, and sends the secret nowhere in the clear', () => {
    const env = { CAPTCHA_VERIFY_URL: 'https://captcha.example/siteverify', CAPTCHA_SECRET: 'hunter2' };
    expect(problemsOf(env)).toEqual([]);
    for (const name of ['CAPTCHA_VERIFY_URL', 'CAPTCHA_SECRET']) {
      expect(problemsOf({ ...env, [name]: '' })).toEqual([expect.stringMatching(new RegExp(`^${name} is missing`))]);
    }
    const open = problemsOf({ ...env, CAPTCHA_VERIFY_URL: 'http://captcha.example/siteverify' });
    expect(open).toEqual([expect.stringMatching(/^CAPTCHA_VERIFY_URL starts with http:.* Use https/)]);
    for (const host of ['127.0.0.1', 'localhost:8080', '[::1]:8080']) {
      expect(problemsOf({ ...env, CAPTCHA_VERIFY_URL: `http://${host}/siteverify` })).toEqual([]);
    }
  });

  test('looks breached passwords up over TLS, at an address without a slash at its end', () => {
    const at = (address: string) => ({ PASSWORD_BLOCKLIST: 'breached', PASSWORD_BREACH_URL: address });
    expect(parseConfig(at('https://breaches.example/range/')).PASSWORD_BREACH_URL).toBe(
      'https://breaches.example/range',
    );
    expect(problemsOf(at('http://breaches.example/range'))).toEqual([
      expect.stringMatching(/^PASSWORD_BREACH_URL starts with http:.* Use https/),
    ]);
    expect(problemsOf(at('http://127.0.0.1:8080/range'))).toEqual([]);
    expect(problemsOf({ PASSWORD_BLOCKLIST: 'none' })).toEqual([
      expect.stringMatching(/^PASSWORD_BLOCKLIST must be common, breached or off/),
    ]);
  });

  test('counts a secret in bytes', () => {
    expect(problemsOf({ JWT_SECRET: 'x'.repeat(31) })).toHaveLength(1);
    expect(problemsOf({ JWT_SECRET: 'é'.repeat(16) })).toEqual([]);
  });

  test.each([
    ['mongodb://user:hunter2@', /^MONGO_URI cannot be parsed\./],
    ['mongodb://user:hunter2@host/?readPreference=secondary', /^MONGO_URI .*readPreference.*Remove it/],
    ['mongodb://user:hunter2@host/?journal=false', /^MONGO_URI .*journal.*Remove it/],
    ['mongodb://user:hunter2@host/?w=1', /^MONGO_URI .* w .*Remove it/],
  ])('refuses a MONGO_URI that the service cannot work with: %s', (uri, message) => {
    const [problem, ...others] = problemsOf({ MONGO_URI: uri, JWT_SECRET: SECRET });
    expect(others).toEqual([]);
    expect(problem).toMatch(message);
    expect(problem).not.toContain('hunter2');
  });

  test('has no variable of the former collection names', () => {
    const names = variableTable().map(({ name }) => name);
    expect(names).not.toContain('QUARANTINE_MS');
    expect(names).not.toContain('COPY_WAIT_MS');
  });
});

describe('the documentation of the variables (npm run variables writes it)', () => {
  const fileText = (name: string) => readFileSync(join(REPOSITORY, name), 'utf8');

  test('.dev.vars.example holds every variable with its default and meaning', () => {
    expect(fileText('.dev.vars.example')).toBe(exampleFile());
  });

  test('README.md holds every variable with its default and meaning', () => {
    expect(fileText('README.md')).toContain(markdownTable());
  });

  test('--help names every variable with its default', () => {
    for (const { name, default: value } of variableTable()) {
      expect(helpText().split('\n')).toContainEqual(expect.stringMatching(new RegExp(`^  ${name} .*\\(`)));
      expect(helpText()).toContain(`(${value})`);
    }
  });

  test('a default is a value that the variable takes', () => {
    const defaults = Object.fromEntries(
      variableTable().flatMap((row) => (row.isValue ? [[row.name, row.default]] : [])),
    );
    expect(parseConfig(defaults)).toEqual(parseConfig({}));
  });
});
