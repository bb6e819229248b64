import { cloudflareMailer } from './cloudflare-mailer.ts';
import { processMailers } from './mailer-implementations.ts';

processMailers('Node');
cloudflareMailer('Node');
