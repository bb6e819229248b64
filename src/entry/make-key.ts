import { readFileSync } from 'node:fs';
import { KEY_ALGORITHMS, KeyError, makeJwk, parseKeySet } from '../platform/key-ring.ts';

const HELP = `Prints a JWK Set for JWT_KEYS: a new key, which signs, before those of a set there is.

  npm run --silent key -- ALGORITHM [FILE]

ALGORITHM is ${KEY_ALGORITHMS.join(', ')}; FILE is the set whose keys go on verifying.
`;

const [name, file] = process.argv.slice(2);
const algorithm = KEY_ALGORITHMS.find((known) => known === name);
if (algorithm === undefined) {
  process.stderr.write(HELP);
  process.exitCode = 1;
} else {
  try {
    const kept = file === undefined ? [] : JSON.parse(readFileSync(file, 'utf8')).keys;
    const set = JSON.stringify({ keys: [await makeJwk(algorithm), ...kept] }, undefined, 2);
    await parseKeySet(set);
    process.stdout.write(`${set}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof KeyError ? `The set ${error.message}.` : `${file} is no JWK Set.`}\n`);
    process.exitCode = 1;
  }
}
