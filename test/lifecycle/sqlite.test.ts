import { faultSuite } from './fault-suite.ts';
import { openStore } from './stores.ts';

faultSuite('SQLite', async () => openStore(undefined), { plain: 1, other: 1009 });
