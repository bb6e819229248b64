import type { TestProject } from 'vitest/node';
import { givenUri, startFerret, startMongo } from './wire-server.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A MongoDB, or what stands in for it (SecantusDB). Undefined: not to be had here. */
    secantusUri: string | undefined;
    /** A FerretDB: MongoDB's protocol with much left out. Undefined: not to be had here. */
    ferretUri: string | undefined;
  }
}

/** Starts the servers that all test files of a run share; each file uses databases of its own. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const given = givenUri();
  const [mongo, ferret] = await Promise.all([
    given === undefined ? startMongo({ durable: false }) : undefined,
    startFerret(),
  ]);
  project.provide('secantusUri', given ?? mongo?.uri);
  project.provide('ferretUri', ferret?.uri);
  return async () => {
    await Promise.all([mongo?.stop(), ferret?.stop()]);
  };
}
