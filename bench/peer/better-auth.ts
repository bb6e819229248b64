/** The peer: better-auth's organization plugin on Hono and SQLite, as durable as our embedded store. */
import { DatabaseSync } from 'node:sqlite';
import { serve } from '@hono/node-server';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { organization } from 'better-auth/plugins';
import { Hono } from 'hono';

const [, , port = '', file = ''] = process.argv;

const database = new DatabaseSync(file);
database.exec('PRAGMA journal_mode = WAL');
database.exec('PRAGMA synchronous = FULL');

const options = {
  database,
  baseURL: `http://127.0.0.1:${port}`,
  secret: 'for a benchmark only: 32 bytes and more of it',
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  plugins: [organization()],
  logger: { disabled: true },
};
const auth = betterAuth(options);
await (await getMigrations(options)).runMigrations();

const app = new Hono();
app.on(['GET', 'POST'], '/api/auth/*', (c) => auth.handler(c.req.raw));
serve({ fetch: app.fetch, port: Number(port), hostname: '127.0.0.1' });
