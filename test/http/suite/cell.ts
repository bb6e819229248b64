import type { Caller } from '../../support/caller.ts';
import type { Mailbox } from '../../support/mailbox.ts';
import type { RunningService } from '../../support/service.ts';

/** One cell of the matrix while its tests run: a running service and a caller of it. */
export type Cell = {
  readonly service: () => RunningService;
  readonly caller: () => Caller;
  /** Where the service's mails arrive. */
  readonly mailbox: () => Mailbox;
};
