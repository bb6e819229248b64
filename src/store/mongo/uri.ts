import { MongoClient } from 'mongodb';

/** Options that would weaken what the service relies on, by their names in lower case, and the only value of each. */
const FIXED: ReadonlyMap<string, { readonly value: string | undefined; readonly why: string }> = new Map([
  ['readpreference', { value: 'primary', why: 'The service reads from the primary only.' }],
  ['readpreferencetags', { value: undefined, why: 'The service reads from the primary only.' }],
  ['maxstalenessseconds', { value: undefined, why: 'The service reads from the primary only.' }],
  ['readconcernlevel', { value: 'local', why: 'The service reads what the primary has now.' }],
  ['w', { value: 'majority', why: 'The service waits for a majority of the members.' }],
  ['journal', { value: 'true', why: 'The service waits until a write is in the journal.' }],
  ['j', { value: 'true', why: 'The service waits until a write is in the journal.' }],
  ['fsync', { value: 'true', why: 'The service waits until a write is in the journal.' }],
]);

const FORM = 'mongodb://user:password@host:port/?option=value';

/**
 * What is wrong with a MongoDB URI, as the rest of a sentence that begins with its variable's name; undefined: nothing.
 * It names options and never their values: a URI holds a password. Nothing is connected.
 */
export function checkMongoUri(uri: string): string | undefined {
  const start = uri.indexOf('?');
  const options = (start < 0 ? '' : uri.slice(start + 1)).split('&').filter((option) => option !== '');
  for (const option of options) {
    const { name, value } = parseOption(option);
    const fixed = FIXED.get(name.toLowerCase());
    if (fixed === undefined || value.toLowerCase() === fixed.value) continue;
    const fix = fixed.value === undefined ? 'Remove it' : `Remove it, or set it to "${fixed.value}"`;
    return `sets the option ${name} to a value that is not allowed. ${fixed.why} ${fix}.`;
  }
  if (isParsed(uri)) return undefined;
  const bare = start < 0 ? uri : uri.slice(0, start);
  if (!isParsed(bare)) {
    return `cannot be parsed. Write it as ${FORM}, with reserved characters in the user and the password percent-encoded.`;
  }
  const wrong = options.find((option) => !isParsed(`${bare}?${option}`));
  const named = wrong === undefined ? 'options that do not fit together' : `a wrong option: ${parseOption(wrong).name}`;
  return `has ${named}. Write it as ${FORM}, with options that the MongoDB driver for Node.js knows.`;
}

function parseOption(option: string): { name: string; value: string } {
  const [pair] = new URLSearchParams(option);
  const [name, value] = pair ?? ['', ''];
  // What is not a name may be a part of the password.
  return { name: /^[A-Za-z]{1,40}$/.test(name) ? name : '(unnamed)', value };
}

/** The driver's own parser; a client is not connected by being made. */
function isParsed(uri: string): boolean {
  try {
    new MongoClient(uri);
    return true;
  } catch {
    return false;
  }
}
