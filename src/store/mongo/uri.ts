import { MongoClient } from 'mongodb';

/** Options with one allowed value, by their names in lower case: with another one, reads or writes would promise less. */
const FIXED: ReadonlyMap<string, { readonly value: string; readonly why: string }> = new Map([
  ['readpreference', { value: 'primary', why: 'The service reads from the primary only.' }],
  ['readconcernlevel', { value: 'local', why: 'The service reads what the primary has now.' }],
  ['w', { value: 'majority', why: 'The service waits for a majority of the members.' }],
  ['journal', { value: 'true', why: 'The service waits until a write is in the journal.' }],
  ['j', { value: 'true', why: 'The service waits until a write is in the journal.' }],
]);

/**
 * Options that may have any value: how the servers are reached, and as whom. The driver has many more. Some change what
 * is read or written (raw, promoteValues, ignoreUndefined), and the service sets others itself (maxPoolSize).
 */
const ALLOWED = `appName authMechanism authMechanismProperties authSource compressors connectTimeoutMS directConnection
  heartbeatFrequencyMS proxyHost proxyPassword proxyPort proxyUsername replicaSet retryReads retryWrites
  serverSelectionTimeoutMS srvAllowedHostsSuffix srvMaxHosts srvServiceName ssl tls tlsAllowInvalidCertificates
  tlsAllowInvalidHostnames tlsCAFile tlsCRLFile tlsCertificateKeyFile tlsCertificateKeyFilePassword tlsInsecure
  zlibCompressionLevel`.split(/\s+/);

const ALLOWED_NAMES: ReadonlySet<string> = new Set([...FIXED.keys(), ...ALLOWED.map((name) => name.toLowerCase())]);

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
    return `sets the option ${name} to a value that is not allowed. ${fixed.why} Remove it, or set it to "${fixed.value}".`;
  }
  const bare = start < 0 ? uri : uri.slice(0, start);
  if (!isParsed(bare)) {
    return `cannot be parsed. Write it as ${FORM}, with reserved characters in the user and the password percent-encoded.`;
  }
  const refused = options.map(parseOption).find(({ name }) => !ALLOWED_NAMES.has(name.toLowerCase()));
  if (refused !== undefined) {
    return `sets the option ${refused.name} that is not allowed. Remove it. Allowed are ${ALLOWED.join(', ')}.`;
  }
  if (isParsed(uri)) return undefined;
  const wrong = options.find((option) => !isParsed(`${bare}?${option}`));
  const named = wrong === undefined ? 'options that do not fit together' : `a wrong option: ${parseOption(wrong).name}`;
  return `has ${named}. Write it as ${FORM}, with values that the MongoDB driver for Node.js knows.`;
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
