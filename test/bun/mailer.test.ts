import { processMailers } from '../contract/mailer-implementations.ts';

processMailers('Bun');
