import { createBunHasher } from '../../src/platform/hashing/bun.ts';
import { hasherContract } from '../contract/hasher-contract.ts';

hasherContract('bcrypt on Bun', createBunHasher);
