import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MailError } from '../../src/domain/outbox/mailer.ts';
import type { Mailer, Message } from '../../src/domain/outbox/schema.ts';
import type { Answering, Mailbox } from '../support/mailbox.ts';

/** A mailer, with the other side in the hands of the test. */
export type MailerUnderTest = {
  readonly mailer: Mailer;
  readonly mailbox: Mailbox;
  /** What becomes of a mail that it takes. */
  readonly outcome: 'sent' | 'kept';
  /** How the other side answers from now on; undefined where there is none that could refuse. */
  readonly answer: ((how: Answering) => void) | undefined;
  /** Whether the other side says what a refusal is about; otherwise each is taken for one of the message, for now. */
  readonly tellsFailures: boolean;
  stop(): Promise<void>;
};

export const FROM = { name: 'Ténantry', address: 'no-reply@tenantry.example' };

let made = 0;

const message = (changes: Partial<Message> = {}): Message => ({
  id: `00000000-0000-7000-8000-${String(++made).padStart(12, '0')}`,
  to: 'admin+tag@example.com',
  subject: 'Grüße an "Müller & Söhne" \u{1F600}',
  text: 'Zeile eins äöü\n\nA line that is longer than what a line of a mail may have, so that it has to be encoded.\n',
  html: '<!doctype html><html lang="en"><body><p>Zeile &lt;eins&gt; äöü</p></body></html>',
  ...changes,
});

/** What every mailer promises. */
export function mailerContract(name: string, open: () => Promise<MailerUnderTest>): void {
  describe(name, () => {
    let under: MailerUnderTest;

    beforeAll(async () => {
      under = await open();
    });

    afterAll(async () => {
      await under?.stop();
    });

    const arrived = async () => (await under.mailbox.all()).at(-1);

    it('hands a message over as it is, to one receiver', async () => {
      const sent = message();
      expect(await under.mailer.send(sent)).toBe(under.outcome);
      const mail = await arrived();
      expect(mail?.to).toBe(sent.to);
      expect(mail?.from).toContain(FROM.address);
      expect(mail?.from).toContain(FROM.name);
      expect(mail?.subject).toBe(sent.subject);
      expect(mail?.text.trim()).toBe(sent.text.trim());
      expect(mail?.html.trim()).toBe(sent.html);
      expect(mail?.headers.get('auto-submitted')).toBe('auto-generated');
    });

    it('lets a repetition be told', async () => {
      const sent = message();
      await under.mailer.send(sent);
      const first = await arrived();
      await under.mailer.send(sent);
      expect((await arrived())?.repetition).toBe(first?.repetition);
      await under.mailer.send(message());
      if (first?.repetition !== '') expect((await arrived())?.repetition).not.toBe(first?.repetition);
    });

    it('refuses for good what could add a header or a receiver', async () => {
      const before = (await under.mailbox.all()).length;
      const lists = [
        'a@example.com, b@example.com',
        'a@example.com;b@example.com',
        'A <a@example.com>',
        '<a@example.com>',
      ];
      const breaks = ['a@example.com\r\nBcc: b@example.com', 'a@example.com\nBcc:b@example.com', 'a@example.com\0'];
      for (const to of [...lists, ...breaks, '', 'a', '@', 'a b@example.com', '"a b"@example.com', 'a@b@example.com']) {
        await expect(under.mailer.send(message({ to })), to).rejects.toMatchObject({
          name: 'MailError',
          failure: 'refused',
        });
      }
      for (const subject of ['x\r\nBcc: b@example.com', 'x\nBcc: b@example.com', 'x\r', 'x\0', 'x\u2028y']) {
        await expect(under.mailer.send(message({ subject })), subject).rejects.toMatchObject({ failure: 'refused' });
      }
      for (const id of ['x>\r\nBcc: b@example.com', '../x', '', 'a b']) {
        await expect(under.mailer.send(message({ id })), id).rejects.toMatchObject({ failure: 'refused' });
      }
      expect(await under.mailbox.all()).toHaveLength(before);
    });

    it('keeps a text that looks like headers, or like the end, a text', async () => {
      const before = (await under.mailbox.all()).length;
      const text = 'first\r\n.\r\nBcc: b@example.com\r\n\r\n.\r\nMAIL FROM:<x@example.com>\r\nlast';
      await under.mailer.send(message({ text }));
      expect(await under.mailbox.all()).toHaveLength(before + 1);
      const mail = await arrived();
      expect(mail?.text.replaceAll('\r\n', '\n').trim()).toBe(text.replaceAll('\r\n', '\n'));
      expect(mail?.headers.has('bcc')).toBe(false);
    });

    it('tells what is refused for good, what for now, and what is no message’s fault, without a word of the other side', async () => {
      if (under.answer === undefined) return;
      const failures = { refuses: 'refused', postpones: 'postponed', drops: 'postponed', away: 'away' } as const;
      for (const how of ['refuses', 'postpones', 'drops', 'away'] as const) {
        under.answer(how);
        const error = await under.mailer.send(message()).catch((thrown: unknown) => thrown);
        under.answer('takes');
        expect(error).toBeInstanceOf(MailError);
        expect(error, how).toMatchObject({ failure: under.tellsFailures ? failures[how] : 'postponed' });
        expect((error as MailError).message).not.toMatch(/example|Refused|theirs/);
      }
      await under.mailer.send(message());
    });
  });
}
