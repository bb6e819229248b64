import type { Random } from './random.ts';

/** A body that no route takes, as the bytes to send. */
export type HostileBody = { readonly kind: string; readonly bytes: Uint8Array<ArrayBuffer> };

/** An operation with a body, and one that it would take. */
export type Operation = {
  readonly method: string;
  readonly path: string;
  readonly isPublic: boolean;
  /** Undefined: the operation takes no body. */
  readonly valid: Readonly<Record<string, unknown>> | undefined;
};

/** The service's bound. */
const MAX_BYTES = 64 * 1024;

type Schema = {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly example?: unknown;
};

type Described = {
  readonly security?: readonly unknown[];
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: Schema } } };
};

/** The part of the OpenAPI document that is read here. */
export type OpenApi = { readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>> };

/** Every POST and PUT of /openapi.json. */
export const operationsOf = (document: OpenApi): Operation[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { security, requestBody }]) => {
      if (method !== 'post' && method !== 'put') return [];
      const schema = requestBody?.content['application/json'].schema;
      const properties = Object.entries(schema?.properties ?? {});
      const required = properties.filter(([name]) => schema?.required?.includes(name) ?? false);
      const fields = required.length > 0 ? required : properties;
      const valid = Object.fromEntries(fields.map(([name, field]) => [name, sampleOf(field)]));
      const operation = { method: method.toUpperCase(), path, isPublic: security === undefined };
      return [{ ...operation, valid: schema === undefined ? undefined : valid }];
    }),
  );

function sampleOf({ example, enum: choices, format }: Schema): unknown {
  if (example !== undefined) return example;
  if (choices !== undefined) return choices[0];
  return format === 'uuid' ? '01900000-0000-7000-8000-000000000000' : 'x';
}

/** JSON texts of one piece: what is repeated in a string, as it stands in the text. */
const IN_STRINGS = [
  '\\"',
  '\\\\',
  '\\u0000',
  '\\ud800',
  '\\udc00\\ud800',
  '\\ud83d\\ude00',
  '\\/',
  '\\n',
  'a',
  '.',
  '@',
  ' ',
  '\u0301',
  '\ufdfa',
  '\u202e',
  '[',
  '{',
  ':',
  '%',
  'a@a.',
];

const NUMBERS = ['1e999', '-1e999', '0.1e-999', '-0', '9007199254740993', `${'1'.repeat(400)}`, '1E+5', '0.5'];
const NOT_NUMBERS = ['NaN', 'Infinity', '01', '+1', '0x10', '1.', '.5', '1_000', '--1', '1e'];
const FIELD_NAMES = ['__proto__', 'constructor', 'toString', '$where', 'a.b', '', '\\u0000', '\\ud800', 'length'];
const ELEMENTS = ['0', '""', '[]', '{}', 'null', '{"a":1}', '[[[]]]', '"\\ud800"', '{"__proto__":{}}', '1e400'];

type Maker = (random: Random, valid: Readonly<Record<string, unknown>>) => string | Uint8Array;

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** A size in bytes: most are at the bound, or small. */
const sizeOf = (random: Random): number =>
  random.pick([
    MAX_BYTES,
    MAX_BYTES,
    MAX_BYTES - random.below(100),
    1 + random.below(MAX_BYTES),
    1 + random.below(300),
  ]);

const fill = (piece: string, bytes: number): string =>
  piece.repeat(Math.max(1, Math.floor(bytes / encode(piece).byteLength)));

/** The object as JSON with one more member, or with another value for one of its fields. */
const withMember = (valid: object, name: string, value: string): string =>
  `{${[...Object.entries(valid).map(([field, sample]) => `"${field}":${JSON.stringify(sample)}`), `"${name}":${value}`].join(',')}}`;

function replaced(random: Random, valid: Readonly<Record<string, unknown>>, value: string): string {
  const fields = Object.keys(valid);
  const field = fields.length === 0 ? 'x' : random.pick(fields);
  return withMember(Object.fromEntries(Object.entries(valid).filter(([name]) => name !== field)), field, value);
}

/** A text of more characters than any field takes, so that none is compared with a password. */
const longString = (random: Random): string => `"${fill(random.pick(IN_STRINGS), 15_000 + random.below(45_000))}"`;

const MAKERS: Readonly<Record<string, Maker>> = {
  nesting: (random, valid) => {
    const [open, close] = random.pick([
      ['[', ']'],
      ['{"a":', '}'],
      ['[{"":', '}]'],
    ] as const);
    const levels = random.pick([31, 32, 33, 100, 5000, 60_000 / (open.length + close.length)]);
    const deep = `${open.repeat(levels)}1${random.chance(0.7) ? close.repeat(levels) : ''}`;
    return random.chance(0.5) ? deep : withMember(valid, 'deep', deep);
  },
  strings: (random, valid) => replaced(random, valid, longString(random)),
  'bare strings': (random) => longString(random),
  'strings without end': (random, valid) => replaced(random, valid, longString(random)).slice(0, -3),
  'field names': (random, valid) => withMember(valid, fill(random.pick(IN_STRINGS), sizeOf(random) / 2), '1'),
  'many fields': (random, valid) => {
    const count = 20 + random.below(3500);
    const name = random.pick(FIELD_NAMES);
    const members = Array.from({ length: count }, (_, index) => `"${name}${index}":${random.pick(ELEMENTS)}`);
    return `${JSON.stringify(valid).slice(0, -1)},${members.join(',')}}`;
  },
  'known names': (random, valid) => withMember(valid, random.pick(FIELD_NAMES), random.pick(ELEMENTS)),
  'a name twice': (random, valid) => {
    const [[field, sample] = ['x', 'x']] = Object.entries(valid);
    const spelling = random.chance(0.5) ? field : `\\u00${field.charCodeAt(0).toString(16)}${field.slice(1)}`;
    const again = fill(`,"${spelling}":${JSON.stringify(sample)}`, sizeOf(random) / 2);
    return `{"${field}":${JSON.stringify(sample)}${again}}`;
  },
  numbers: (random, valid) => replaced(random, valid, random.pick(NUMBERS)),
  'no numbers': (random, valid) => replaced(random, valid, random.pick(NOT_NUMBERS)),
  'long numbers': (random, valid) =>
    replaced(
      random,
      valid,
      random.pick([fill('9', 60_000), `1e${fill('9', 60_000)}`, `0.${fill('0', 60_000)}1`, `-${fill('1', 60_000)}`]),
    ),
  arrays: (random, valid) => {
    const array = `[${fill(`${random.pick(ELEMENTS)},`, sizeOf(random) - 1000)}0]`;
    return random.chance(0.5) ? array : replaced(random, valid, array);
  },
  'white space': (random, valid) => `${JSON.stringify(valid)}${fill(random.pick([' ', '\n', '\t']), 60_000)}}`,
  'cut off': (random, valid) => {
    const text = JSON.stringify({ ...valid, more: 'x'.repeat(random.below(2000)) });
    return text.slice(0, 1 + random.below(text.length - 1));
  },
  'a byte order mark': (_, valid) => `\ufeff${JSON.stringify(valid)}`,
  'no UTF-8': (random, valid) => {
    const bad = random.pick([[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]);
    const bytes = encode(JSON.stringify({ ...valid, padding: 'x'.repeat(random.below(60_000)) }));
    const at = 2 + random.below(bytes.length - 3);
    return Uint8Array.from([...bytes.subarray(0, at), ...bad, ...bytes.subarray(at)]);
  },
  noise: (random) => Uint8Array.from({ length: sizeOf(random) }, () => random.below(256)),
  brackets: (random) => Array.from({ length: sizeOf(random) }, () => random.pick([...'{}[]:,"\\'])).join(''),
};

/** A body that the operation does not take, whatever its fields: of at most 64 KB. */
export function hostileBody(random: Random, { valid = {} }: Operation): HostileBody {
  const kind = random.pick(Object.keys(MAKERS));
  const made = MAKERS[kind]?.(random, valid) ?? '';
  const bytes = typeof made === 'string' ? encode(made) : made;
  return { kind, bytes: Uint8Array.from(bytes.subarray(0, MAX_BYTES)) };
}
