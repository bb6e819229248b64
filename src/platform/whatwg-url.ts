/** What the MongoDB driver takes from the package whatwg-url, by the runtime's own; wrangler.toml puts it in its place. */
const { URL, URLSearchParams } = globalThis;

export { URL, URLSearchParams };
export default { URL, URLSearchParams };
