import { describe, expect, test } from 'vitest';
import type { MailDocument, MailKind } from '../../src/domain/outbox/schema.ts';
import { toMessage } from '../../src/domain/outbox/wording.ts';

const KINDS = [
  'verification',
  'password_forgotten',
  'invitation',
  'email_changed',
  'email_change_undone',
  'password_changed',
  'second_factor_enabled',
  'second_factor_disabled',
] as const;

const WORD_JOINER = '\u2060';

const mailOf = (kind: MailKind): MailDocument => ({
  _id: 'id-1',
  kind,
  organization_id: 'organization',
  admin_id: 'admin',
  to: 'admin@testco.com',
  to_key: 'admin@testco.com',
  token: null,
  invitation: null,
  change: null,
  organization_key: null,
  attempts: 0,
  due_at: null,
  created_at: new Date(0),
  expires_at: new Date(0),
});

const messageOf = (kind: (typeof KINDS)[number], organization: string) =>
  toMessage(mailOf(kind), [{ id: 'id-1', organization, token: 'id-1.secret' }], undefined);

const HOSTILE = [
  'https://evil.example',
  'evil.example',
  'www.evil.example/login?x=1',
  'a@evil.example',
  'mailto:a@evil.example',
  'tel:+18005550100',
  '//evil.example',
  'evil\u3002example',
  '=?utf-8?b?aHR0cHM6Ly9ldmlsLmV4YW1wbGU=?=',
  '<a href="https://evil.example">here</a>',
  'Acme". Your account is closed, call "us',
];

describe.each(KINDS)('a mail of the kind %s', (kind) => {
  test.each(HOSTILE)('is under the same subject for an organization called %s, and shows no link to it', (name) => {
    const message = messageOf(kind, name);
    expect(message.subject).toBe(messageOf(kind, 'TestCo').subject);
    const shown = message.html
      .replaceAll('&quot;', '"')
      .replaceAll('&#39;', "'")
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&amp;', '&');
    for (const text of [message.text, shown]) {
      const quoted = /organization "([^"]*)"/.exec(text)?.[1] ?? '';
      // All of the name is between the quotes, and nothing was lost of it.
      expect(quoted.replaceAll(WORD_JOINER, '').replaceAll("'", '"')).toBe(name.replaceAll("'", '"'));
      expect(quoted).not.toMatch(/[./:@\u3002](?!\u2060)/);
      expect(text).not.toContain('evil.example');
      expect(text).not.toContain('://evil');
    }
    expect(message.html).not.toContain('<a ');
    for (const line of message.text.split('\n')) expect(line).toMatch(/^(?:[A-Z]|$)/);
  });

  test('shows an honest name as it is', () => {
    expect(messageOf(kind, 'Müller & Söhne').text).toContain('"Müller & Söhne"');
  });
});

test.each([undefined, 'https://app.example.com'])(
  'a mail of several accounts names each by its link: %s',
  (publicUrl) => {
    const parts = ['One', 'https://evil.example'].map((organization, index) => ({
      id: `id-${index}`,
      organization,
      token: `id-${index}.secret`,
    }));
    const { id, text, html } = toMessage(mailOf('password_forgotten'), parts, publicUrl);
    expect(id).toBe('id-0');
    const order = ['"One"', 'id-0.secret', '"https:\u2060/\u2060/\u2060evil.\u2060example"', 'id-1.secret'];
    for (const shown of [text, html.replaceAll('&quot;', '"')]) {
      const places = order.map((part) => shown.indexOf(part));
      expect(places).not.toContain(-1);
      expect(places).toEqual(places.toSorted((a, b) => a - b));
    }
    expect(html.match(/<a /g)?.length ?? 0).toBe(publicUrl === undefined ? 0 : 2);
  },
);
