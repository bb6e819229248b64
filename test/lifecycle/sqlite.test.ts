import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { faultSuite } from './fault-suite.ts';

faultSuite('the embedded store', async () => createSqliteExecutor(openSqliteFile(':memory:')));
