import { createWorkerHasher } from '../../src/platform/hashing/worker.ts';
import { hasherContract } from '../contract/hasher-contract.ts';

hasherContract('bcrypt in workerd', createWorkerHasher);
