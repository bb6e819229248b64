import { EMBEDDED, httpSuite } from './suite.ts';

httpSuite('node', 'the embedded store', EMBEDDED);
