import { EMBEDDED, httpSuite } from './suite.ts';

httpSuite('workerd', 'the embedded store', EMBEDDED);
