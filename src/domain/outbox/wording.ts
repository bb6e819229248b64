import type { MailDocument, MailKind, Message } from './schema.ts';

/** The thing that a mail's one-time token is for. */
type Request = {
  /** The page of the front end at PUBLIC_URL that does it. */
  readonly page: string;
  /** The call of the service that the page makes. Where there is no page, the mail names the call. */
  readonly call: string;
  /** What the call takes beside the token. */
  readonly with?: { readonly password: string };
};

type Wording = {
  /** A constant: the subject is what readers trust most, so no caller's text is in it. */
  readonly subject: string;
  /** @param organization its name, as {@link quote} gives it */
  readonly paragraphs: (organization: string, mail: MailDocument) => readonly string[];
  /** What stands before each link, where a mail has several. */
  readonly label?: (organization: string) => string;
  readonly request?: Request;
};

/** What a mail says and brings for one organization. */
export type MailPart = {
  /** The same when it is sent again. */
  readonly id: string;
  readonly organization: string;
  /** The one-time token, for a kind that brings one. */
  readonly token: string;
};

const PASSWORD = { password: '(a password of your choice)' };

const UNDO: Request = { page: '/undo', call: 'POST /admin/undo' };

const FORGOTTEN: Wording = {
  subject: 'Choose a new password',
  paragraphs: () => [
    'Somebody, hopefully you, forgot the password of an admin with this email address.',
    'You can choose a new one once, within the next hour. That ends every sign-in so far.',
    'If it was not you, ignore this mail: your password stays as it is.',
  ],
  label: (organization) => `For your account as an admin of the organization ${organization}:`,
  request: { page: '/reset-password', call: 'POST /admin/password/reset', with: PASSWORD },
};

const WORDINGS: Readonly<Record<MailKind, Wording>> = {
  verification: {
    subject: 'Confirm your email address',
    paragraphs: (organization) => [
      `This address was given for an admin of the organization ${organization}.`,
      'Please confirm that it is yours. If you did not expect this mail, ignore it: nothing will happen.',
    ],
    request: { page: '/verify-email', call: 'POST /admin/verify-email' },
  },
  password_forgotten: FORGOTTEN,
  // One that an earlier version of the service has left to be sent.
  password_reset: FORGOTTEN,
  invitation: {
    subject: 'You are invited to an organization',
    paragraphs: (organization, { invitation }) => [
      `You are invited to the organization ${organization}, as ${invitation?.role ?? 'viewer'}.`,
      'The invitation is valid for seven days, once. If you did not expect it, ignore this mail.',
    ],
    request: { page: '/accept-invite', call: 'POST /admin/accept-invite', with: PASSWORD },
  },
  email_changed: {
    subject: 'Your email address: a change',
    paragraphs: (organization, { change }) => [
      change === null
        ? `Somebody, hopefully you, asked for another email address of your account as an admin of the organization ${organization}. It takes the place of this one when it is confirmed.`
        : `Your account as an admin of the organization ${organization} has another email address now. This one can no longer sign in.`,
      'If it was not you, undo it, once, within seven days: the account keeps this address, or gets it back, a second factor set up since is removed, the password is no longer good, and every sign-in ends. Then choose a new password: ask for a mail to do so (POST /admin/password/forgot).',
    ],
    request: UNDO,
  },
  email_change_undone: {
    subject: 'Your email address: a change was undone',
    paragraphs: (organization) => [
      `Your account as an admin of the organization ${organization} has its former email address back, by the link that was sent there when it was changed. This address can no longer sign in. Every sign-in has ended, the password is no longer good, and a second factor set up since the change is removed.`,
      'If it was not you, tell an owner of the organization at once.',
    ],
  },
  password_changed: {
    subject: 'Your password was changed',
    paragraphs: (organization) => [
      `The password of your account as an admin of the organization ${organization} was changed. Every sign-in from before has ended.`,
      'If it was not you, ask for a new password at once, and tell another owner of the organization.',
    ],
  },
  second_factor_enabled: {
    subject: 'Your account has a second factor',
    paragraphs: (organization) => [
      `Your account as an admin of the organization ${organization} asks for the code of an authenticator app at each sign-in now. Every other sign-in from before has ended.`,
      'Keep the recovery codes in a safe place.',
      'If it was not you, undo it, once, within seven days: the second factor is removed, the password is no longer good, and every sign-in ends. Then choose a new password: ask for a mail to do so (POST /admin/password/forgot).',
    ],
    request: UNDO,
  },
  second_factor_disabled: {
    subject: 'Your account has no second factor any more',
    paragraphs: (organization) => [
      `Your account as an admin of the organization ${organization} no longer asks for the code of an authenticator app. Every other sign-in from before has ended.`,
      'If it was not you, ask for a new password at once, and tell another owner of the organization.',
    ],
  },
};

/**
 * A name that a caller typed, as it stands in a mail: in quotes that it cannot end, and with an invisible WORD JOINER
 * wherever a mail reader would see the parts of a link or an address.
 */
const quote = (name: string): string =>
  `"${name.replaceAll(/["\u201c-\u201f]/g, "'").replaceAll(/[./:@\u3002]/g, '$&\u2060')}"`;

/**
 * The mail as it is sent.
 * @param parts one, or one for each account
 * @param publicUrl where the front end is; without one the mail names the call to make
 */
export function toMessage(mail: MailDocument, parts: readonly MailPart[], publicUrl: string | undefined): Message {
  const { subject, paragraphs, label, request } = WORDINGS[mail.kind];
  const text: string[] = [];
  const html: string[] = [];
  const say = (paragraph: string) => {
    text.push(paragraph);
    html.push(`<p>${escapeHtml(paragraph)}</p>`);
  };
  for (const paragraph of paragraphs(quote(parts[0]?.organization ?? ''), mail)) say(paragraph);
  for (const { organization, token } of parts) {
    if (label !== undefined) say(label(quote(organization)));
    if (request !== undefined && publicUrl !== undefined) {
      // The fragment of a link is sent to no server: the token is in no log and in no Referer.
      const link = `${publicUrl}${request.page}#token=${token}`;
      text.push(link);
      html.push(`<p><a href="${escapeHtml(link)}">${escapeHtml(link)}</a></p>`);
    } else if (request !== undefined) {
      const call = `${request.call} ${JSON.stringify({ token, ...request.with })}`;
      text.push(`Token: ${token}`, `Call: ${call}`);
      html.push(`<p>Token: <code>${token}</code></p>`, `<p>Call: <code>${escapeHtml(call)}</code></p>`);
    }
  }
  return {
    id: parts[0]?.id ?? mail._id,
    to: mail.to,
    subject,
    text: `${text.join('\n\n')}\n`,
    html: `<!doctype html><html lang="en"><body>${html.join('')}</body></html>`,
  };
}

const escapeHtml = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
