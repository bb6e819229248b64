import type { SendEmailBinding } from '../../src/platform/mail/cloudflare.ts';
import { createCloudflareMailer } from '../../src/platform/mail/cloudflare.ts';
import type { Answering, ReceivedMail } from '../support/mailbox.ts';
import { FROM, mailerContract } from './mailer-contract.ts';

/** The contract, for Cloudflare's binding; what stands in for the binding takes what the real one is documented to. */
export function cloudflareMailer(runtime: string): void {
  mailerContract(`the send_email binding on ${runtime}`, async () => {
    const received: ReceivedMail[] = [];
    let answering: Answering = 'takes';
    const binding: SendEmailBinding = {
      send: async ({ from, headers, ...mail }) => {
        if (answering !== 'takes') throw new Error('Words of theirs: could not send to example.com');
        const names = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
        const sender = typeof from === 'string' ? from : `${from.name} <${from.email}>`;
        received.push({ ...mail, from: sender, repetition: '', headers: new Map(names) });
      },
    };
    return {
      mailer: createCloudflareMailer({ binding, from: FROM }),
      mailbox: { all: async () => [...received] },
      outcome: 'sent',
      answer: (how) => {
        answering = how;
      },
      tellsFailures: false,
      stop: async () => {},
    };
  });
}
