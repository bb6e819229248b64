import type { TestProject } from 'vitest/node';
import { givenUri, sharedServer, startMongo } from './wire-server.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The address of a MongoDB, or of SecantusDB in its place. Undefined: this machine has none. */
    secantusUri: string | undefined;
  }
}

/** Starts the server that all test files of a run share; each file uses databases of its own. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const given = givenUri();
  const shared = given === undefined ? sharedServer() : { uri: given };
  const server = shared === undefined ? await startMongo({ durable: false }) : undefined;
  project.provide('secantusUri', shared?.uri ?? server?.uri);
  return async () => {
    await server?.stop();
  };
}
