import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { faultSuite } from './fault-suite.ts';

faultSuite('SQLite', async () => createSqliteExecutor(openSqliteFile(':memory:')), { plain: 1, other: 7 });
