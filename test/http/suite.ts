import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import type { Caller } from '../support/caller.ts';
import { createCaller } from '../support/caller.ts';
import type { Mailbox } from '../support/mailbox.ts';
import { directoryMailbox, startMailProvider } from '../support/mailbox.ts';
import type { RunningService, Runtime, StoreChoice } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { auditPromises } from './suite/audit.ts';
import { bodyPromises } from './suite/bodies.ts';
import type { Cell } from './suite/cell.ts';
import { hindsightPromises } from './suite/hindsight.ts';
import { mailPromises } from './suite/mail.ts';
import { masterDatabasePromises } from './suite/master-database.ts';
import { organizationPromises } from './suite/organizations.ts';
import { passwordPromises } from './suite/passwords.ts';
import { permissionPromises } from './suite/permissions.ts';
import { securityPromises } from './suite/security.ts';
import { surfacePromises } from './suite/surface.ts';
import { tokenPromises } from './suite/tokens.ts';

export const EMBEDDED: StoreChoice = { kind: 'embedded' };

/** The store at this address, or undefined when the server is not to be had. */
export const mongoAt = (uri: string | undefined): StoreChoice | undefined =>
  uri === undefined ? undefined : { kind: 'mongo', uri };

/**
 * What the service promises over HTTP, held against the real thing on one runtime and one store.
 * @param store undefined where it is not to be had: then the cell is skipped, and the run says so
 */
export function httpSuite(runtime: Runtime, storeName: string, store: StoreChoice | undefined): void {
  describe.skipIf(store === undefined)(`${runtime} on ${storeName}`, () => {
    let service: RunningService;
    let caller: Caller;
    let mail: CellMail;
    const cell: Cell = { service: () => service, caller: () => caller, mailbox: () => mail.mailbox(service) };

    beforeAll(async () => {
      mail = await openCellMail(runtime);
      service = await startService({ runtime, store: store ?? EMBEDDED, env: mail.env });
      caller = createCaller(service.url);
    });

    afterAll(async () => {
      await service?.stop();
      await mail?.stop();
    });

    surfacePromises(cell);
    organizationPromises(cell);
    tokenPromises(cell);
    auditPromises(cell);
    passwordPromises(cell);
    securityPromises(cell);
    bodyPromises(cell);
    mailPromises(cell);
    permissionPromises(cell);
    if (store?.kind === 'mongo') masterDatabasePromises(cell);
    hindsightPromises(cell);
  });
}

type CellMail = {
  readonly env: Readonly<Record<string, string>>;
  mailbox(service: RunningService): Mailbox;
  stop(): Promise<void>;
};

/** Node and Bun write mails to a directory; a Worker hands them to a provider. */
async function openCellMail(runtime: Runtime): Promise<CellMail> {
  if (runtime !== 'workerd') {
    return {
      env: {},
      mailbox: ({ dataDirectory }) => directoryMailbox(join(dataDirectory, 'outbox')),
      stop: async () => {},
    };
  }
  const token = 'the key of a provider';
  const provider = await startMailProvider(token);
  return {
    env: { MAIL_API_URL: provider.url, MAIL_API_TOKEN: token, MAIL_FROM: 'no-reply@example.com' },
    mailbox: () => provider,
    stop: provider.stop,
  };
}
