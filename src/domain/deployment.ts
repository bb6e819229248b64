/**
 * What makes a database this deployment's: one document says which version of the collections and indexes is there,
 * and which key seals the audit logs; one in each tenants' database says whose it is.
 */
import type { Needs } from './context.ts';
import { MASTER_COLLECTIONS } from './master.ts';
import { insertUnlessThere, retryOnUnknownOutcome } from './retry.ts';

/** Raised whenever {@link MASTER_COLLECTIONS} changes, or documents that an older version takes for altered. */
export const SCHEMA = 2;

/** Holds what is said of a database; a name that no tenant's collection can have. */
const COLLECTION = 'tenantry';

type DeploymentDocument = {
  readonly _id: 'deployment';
  readonly deployment_id: string;
  readonly schema: number;
  /** The id of the key that seals the audit logs: it tells which secret it is of, and nothing about it. */
  readonly audit_key: string;
};

type OwnerDocument = { readonly _id: 'owner'; readonly deployment_id: string };

/** This instance does not belong to the databases that it was given. The message says what to change. */
export class DeploymentMismatchError extends Error {
  override readonly name = 'DeploymentMismatchError';
}

/**
 * Makes the master database's collections and indexes, or finds them made, and makes sure that this instance may use
 * the databases: one read of each where all is as it was.
 * @throws {DeploymentMismatchError}
 */
export async function prepareDeployment(
  context: Needs<'master' | 'tenants' | 'settings' | 'seals' | 'newId' | 'wait'>,
): Promise<void> {
  const { master, seals } = context;
  const collection = master.database.collection<DeploymentDocument>(COLLECTION);
  const known = await collection.findOne({ _id: 'deployment' });
  if (known === undefined || known.schema < SCHEMA) {
    for (const [name, indexes] of Object.entries(MASTER_COLLECTIONS)) {
      await retryOnUnknownOutcome(context, () => master.database.createCollection(name, indexes));
    }
  }
  const fresh: DeploymentDocument = {
    _id: 'deployment',
    deployment_id: context.newId(),
    schema: SCHEMA,
    audit_key: seals.current,
  };
  if (known === undefined) await insertUnlessThere(context, () => collection.insertOne(fresh));
  const deployment = known ?? (await collection.findOne({ _id: 'deployment' })) ?? fresh;
  if (deployment.schema > SCHEMA) {
    throw new DeploymentMismatchError(
      'MASTER_DB was used by a newer version of Tenantry, and this one does not know all that is there. ' +
        'Use the newer version, or restore a backup of before.',
    );
  }
  if (seals.seal(deployment.audit_key, '') === undefined) {
    throw new DeploymentMismatchError(
      'AUDIT_SECRET, or JWT_SECRET where that is not set, is not the one that this deployment seals its audit logs with. ' +
        'Give the same one to every instance; to change it, set AUDIT_SECRET to the new one and the old one, separated by a comma.',
    );
  }
  if (deployment.schema < SCHEMA || deployment.audit_key !== seals.current) {
    const own = { _id: 'deployment', schema: { $lte: SCHEMA } };
    await collection.updateOne(own, { $set: { schema: SCHEMA, audit_key: seals.current } });
  }
  await ownTenants(context, deployment.deployment_id);
}

async function ownTenants(context: Needs<'tenants' | 'settings' | 'wait'>, deployment_id: string): Promise<void> {
  const collection = context.tenants(context.settings.placement).collection<OwnerDocument>(COLLECTION);
  const find = () => collection.findOne({ _id: 'owner' });
  let owner = await find();
  if (owner === undefined) {
    await insertUnlessThere(context, () => collection.insertOne({ _id: 'owner', deployment_id }));
    owner = await find();
  }
  if (owner === undefined || owner.deployment_id === deployment_id) return;
  throw new DeploymentMismatchError(
    'TENANTS_DB, or MASTER_DB where that is not set, belongs to another deployment of Tenantry. Use another database.',
  );
}
