import type { Document, Value } from '../port.ts';

/** How a Date stands in the stored JSON. Field names never start with `$`, so that nothing else can look like it. */
export const DATE_FIELD = '$date';

/** The JSON text that is stored for a document. */
export const encode = (document: Document): string => JSON.stringify(withoutDates(document));

/** The document of a stored text. */
export function decode(text: string): Document {
  const parsed = JSON.parse(text) as Document;
  // Inside a string the quotes would be escaped: what is found here is a field.
  return text.includes(`"${DATE_FIELD}"`) ? (withDates(parsed) as Document) : parsed;
}

function withoutDates(value: Value): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return { [DATE_FIELD]: value.getTime() };
  if (Array.isArray(value)) return value.map(withoutDates);
  return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, withoutDates(inner)]));
}

function withDates(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(withDates);
  const fields = value as { [field: string]: Value };
  const time = fields[DATE_FIELD];
  if (typeof time === 'number') return new Date(time);
  for (const [field, inner] of Object.entries(fields)) {
    if (typeof inner === 'object' && inner !== null) fields[field] = withDates(inner);
  }
  return fields;
}
