import { EMBEDDED, httpSuite } from './suite.ts';

httpSuite('bun', 'the embedded store', EMBEDDED);
