/** The platform's limit on a row of a Durable Object's SQLite in production; it is not enforced locally. */
export const DURABLE_OBJECT_DOCUMENT_BYTES = 2_000_000;
