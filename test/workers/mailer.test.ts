import { cloudflareMailer } from '../contract/cloudflare-mailer.ts';

cloudflareMailer('workerd');
