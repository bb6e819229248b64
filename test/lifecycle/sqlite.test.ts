import { openSqliteFile } from '../../src/platform/sqlite-node.ts';
import { createSqliteExecutor } from '../../src/store/sqlite.ts';
import { faultSuite } from './fault-suite.ts';

faultSuite('SQLite', async () => createSqliteExecutor(openSqliteFile(':memory:')), { plain: 1, other: 7 });

faultSuite(
  'SQLite that does not rename',
  async () => createSqliteExecutor(openSqliteFile(':memory:')),
  { plain: 5, other: 41 },
  { refuseRename: true },
);
