import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import type { Caller } from '../support/caller.ts';
import { createCaller } from '../support/caller.ts';
import type { Mailbox } from '../support/mailbox.ts';
import { directoryMailbox, startMailProvider } from '../support/mailbox.ts';
import type { RunningService, Runtime, StoreChoice } from '../support/service.ts';
import { startService } from '../support/service.ts';
import { accessTokenAloneSuite } from './suite/access-token-alone.ts';
import { createAnswerCheck } from './suite/answer-checks.ts';
import { auditSuite } from './suite/audit.ts';
import { auditedRoutesSuite } from './suite/audited-routes.ts';
import { bearerTokenSuite } from './suite/bearer-tokens.ts';
import { bodySuite } from './suite/bodies.ts';
import { dryRunSuite } from './suite/dry-run.ts';
import { finalChecks } from './suite/final-checks.ts';
import { hostileRequestSuite } from './suite/hostile-requests.ts';
import { idempotencySuite } from './suite/idempotency.ts';
import { invitationSuite } from './suite/invitations.ts';
import { mailSuite } from './suite/mail.ts';
import { masterDatabaseSuite } from './suite/master-database.ts';
import { nameSuite } from './suite/names.ts';
import { organizationSuite } from './suite/organizations.ts';
import { passwordSuite } from './suite/passwords.ts';
import { permissionSuite } from './suite/permissions.ts';
import { secondFactorSuite } from './suite/second-factor.ts';
import { sessionSuite } from './suite/sessions.ts';
import { signInSuite } from './suite/sign-in.ts';
import { surfaceSuite } from './suite/surface.ts';
import type { TestEnv } from './suite/test-env.ts';
import { tokenSuite } from './suite/tokens.ts';

export const EMBEDDED: StoreChoice = { kind: 'embedded' };

/** The store at this address, or undefined where this machine has no server. */
export const mongoAt = (uri: string | undefined): StoreChoice | undefined =>
  uri === undefined ? undefined : { kind: 'mongo', uri };

/** What is decided by the form of a request, before the store matters: tested on the embedded store of each runtime. */
const formSuites = [surfaceSuite, nameSuite, bearerTokenSuite, bodySuite, hostileRequestSuite];

/**
 * The promises of the service over HTTP, tested on one runtime and one store.
 * @param store undefined where this machine has none: the tests are skipped, and the run says so
 */
export function httpSuite(runtime: Runtime, storeName: string, store: StoreChoice | undefined): void {
  describe.skipIf(store === undefined)(`${runtime} on ${storeName}`, () => {
    let service: RunningService;
    let caller: Caller;
    let mail: ServiceMail;
    const testEnv: TestEnv = { service: () => service, caller: () => caller, mailbox: () => mail.mailbox(service) };

    beforeAll(async () => {
      mail = await openMail(runtime);
      service = await startService({ runtime, store: store ?? EMBEDDED, env: mail.env });
      const { json: document } = await createCaller(service.url).request('GET', '/openapi.json');
      caller = createCaller(service.url, createAnswerCheck(document));
    });

    afterAll(async () => {
      await service?.stop();
      await mail?.stop();
    });

    organizationSuite(testEnv);
    dryRunSuite(testEnv);
    idempotencySuite(testEnv);
    signInSuite(testEnv);
    tokenSuite(testEnv);
    accessTokenAloneSuite(testEnv);
    sessionSuite(testEnv);
    permissionSuite(testEnv);
    passwordSuite(testEnv);
    secondFactorSuite(testEnv);
    auditSuite(testEnv);
    auditedRoutesSuite(testEnv);
    mailSuite(testEnv);
    invitationSuite(testEnv);
    if (store?.kind === 'mongo') masterDatabaseSuite(testEnv);
    else for (const suite of formSuites) suite(testEnv);
    finalChecks(testEnv);
  });
}

type ServiceMail = {
  readonly env: Readonly<Record<string, string>>;
  mailbox(service: RunningService): Mailbox;
  stop(): Promise<void>;
};

/** Node and Bun write mails to a directory; a Worker hands them to a provider. */
async function openMail(runtime: Runtime): Promise<ServiceMail> {
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
