import type { Caller } from '../../support/caller.ts';
import type { Mailbox } from '../../support/mailbox.ts';
import type { RunningService } from '../../support/service.ts';

/** What the tests of one runtime and one store share: a running service and a caller of it. */
export type TestEnv = {
  readonly service: () => RunningService;
  readonly caller: () => Caller;
  /** Receives the mails of the service. */
  readonly mailbox: () => Mailbox;
};
