import { env } from 'cloudflare:workers';
import type { GatewayNamespace } from '../../src/store/gateway/executor.ts';
import { createGatewayExecutor } from '../../src/store/gateway/executor.ts';
import { storeContract } from '../contract/store-contract.ts';

const { STORE_GATEWAY, MONGO_URI } = env as { STORE_GATEWAY: GatewayNamespace; MONGO_URI?: string };
const backend = MONGO_URI === undefined ? 'sqlite' : 'mongo';

storeContract(
  `the gateway to ${backend}, in workerd`,
  async () => createGatewayExecutor(STORE_GATEWAY, { backend, objects: 4 }),
  backend === 'mongo' ? ['a renamed collection has another id'] : [],
);
