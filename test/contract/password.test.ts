import { createNodeHasher } from '../../src/platform/hashing/node.ts';
import { hasherContract } from './hasher-contract.ts';

hasherContract('bcrypt on Node', createNodeHasher);
