import { createNodeHasher } from '../../src/platform/password-node.ts';
import { hasherContract } from './hasher-contract.ts';

hasherContract('bcrypt on Node', createNodeHasher);
