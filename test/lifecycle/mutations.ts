// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source code that is replaced.
/**
 * Breaks one rule of the protocol after another in a copy of the source, and shows that the fault harness finds it.
 *
 *     node test/lifecycle/mutations.ts [a part of a mutation's name]
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fault } from '../support/faults.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

type Replacement = { readonly file: string; readonly from: string; readonly to: string };

type Mutation = {
  readonly name: string;
  readonly replacements: readonly Replacement[];
  /** Where it is looked for: the scenario, and one in how many of its points that are not plain. */
  readonly scenario: string;
  readonly other: number;
  /** Of those, the points of this fault and of this third party alone. */
  readonly fault?: Fault;
  readonly meanwhile?: string;
};

const inFile = (file: string, from: string, to: string): Replacement => ({ file: `src/domain/${file}`, from, to });

const RENAME = 'organization/rename.ts';
const CLAIMS = 'organization/claims.ts';
const CREATE = 'organization/create.ts';
const COLLECTIONS = 'tenant-data/collections.ts';
const LATE_WRITES = 'tenant-data/late-writes.ts';

const NAME_NOT_RELEASED = inFile(
  RENAME,
  'to.key === from.key ? undefined : releaseName(',
  'to.key !== "" ? undefined : releaseName(',
);

const MUTATIONS: readonly Mutation[] = [
  {
    name: 'a rename ends before it releases what it left',
    replacements: [
      inFile(
        RENAME,
        '  await Promise.all([\n    to.key === from.key ? undefined : releaseName(',
        '  await endOperation(context, organization);\n  await Promise.all([\n    to.key === from.key ? undefined : releaseName(',
      ),
    ],
    scenario: 'rename',
    other: 100,
  },
  {
    name: 'a rename is recorded, and ends before it releases what it left',
    replacements: [
      inFile(
        RENAME,
        '  await Promise.all([\n    to.key === from.key ? undefined : releaseName(',
        '  await record(context, operation.audit);\n  await endOperation(context, organization);\n  await Promise.all([\n    to.key === from.key ? undefined : releaseName(',
      ),
    ],
    scenario: 'rename',
    other: 1,
    fault: 'pause and crash',
    meanwhile: 'it is written to under every name',
  },
  {
    name: 'a rename does not release the name that it left',
    replacements: [NAME_NOT_RELEASED],
    scenario: 'rename',
    other: 1000,
  },
  {
    name: 'a rename does not lease the name that it left',
    replacements: [NAME_NOT_RELEASED],
    scenario: 'rename with leased names',
    other: 1000,
  },
  {
    name: 'a rename does not release the collection that it left',
    replacements: [
      inFile(RENAME, '    leaveCollections(context, organization, operation),\n    record(', '    record('),
    ],
    scenario: 'rename',
    other: 1,
    fault: 'pause',
    meanwhile: 'it is written to under every name',
  },
  {
    name: 'a name is returned without comparing the operation',
    replacements: [
      inFile(
        CLAIMS,
        'const taken = { _id: nameClaimId(key), operation_id: operationId };',
        'const taken = { _id: nameClaimId(key) };',
      ),
    ],
    scenario: 'rename where the email is taken',
    other: 1,
    fault: 'pause and crash',
    meanwhile: 'another takes the name',
  },
  {
    name: 'a create that was refused deletes the name without comparing the operation',
    replacements: [
      inFile(
        CREATE,
        '{ _id: nameClaimId(creating.key), operation_id: creating._id }',
        '{ _id: nameClaimId(creating.key) }',
      ),
    ],
    scenario: 'create where the name is taken',
    other: 1000,
  },
  {
    name: 'a name is released without comparing the operation',
    replacements: [
      inFile(
        CLAIMS,
        'const own = { _id: nameClaimId(key), operation_id: namedBy };',
        'const own = { _id: nameClaimId(key) };',
      ),
    ],
    scenario: 'rename',
    other: 8,
  },
  {
    name: 'late writes are set aside under a shared name',
    replacements: [
      inFile(
        LATE_WRITES,
        "const name = `tenantry_late_${context.newId().replaceAll('-', '')}`;",
        "const name = 'tenantry_late_shared';",
      ),
    ],
    scenario: 'late writes of a renamed one',
    other: 1,
    fault: 'pause',
    meanwhile: 'it is written to under every name',
  },
  {
    name: 'an aside is not recorded',
    replacements: [
      inFile(
        LATE_WRITES,
        "const recorded = await change(context, claim, { $set: { [`asides.${name}`]: 'pending' } });",
        'const recorded: CollectionClaim | undefined = claim;',
      ),
    ],
    scenario: 'late writes of a renamed one',
    other: 40,
  },
  {
    name: 'an aside is dropped though something in it was not merged',
    replacements: [inFile(LATE_WRITES, 'if (left > 0) {', 'if (left < 0) {')],
    scenario: 'late writes that clash',
    other: 40,
  },
  {
    name: 'looks end after an hour',
    replacements: [
      inFile(
        LATE_WRITES,
        'due_at: nextLook(now, quiet_since) }',
        'due_at: now.getTime() - quiet_since.getTime() > 3_600_000 ? null : nextLook(now, quiet_since) }',
      ),
    ],
    scenario: 'rename',
    other: 20,
  },
  {
    name: 'a collection is former before the rename is committed',
    replacements: [
      inFile(
        RENAME,
        '  const left = moved ===',
        '  if (collection !== placement.collection) await markFormer(context, organization._id, placement);\n  const left = moved ===',
      ),
    ],
    scenario: 'rename where the server refuses',
    other: 40,
  },
  {
    name: 'a rename whose target was made by a client is rolled back',
    replacements: [
      inFile(
        RENAME,
        "if (moved === 'occupied') return leaveTarget(context, organization, operation);",
        "if (moved === 'occupied') return rollBack(context, organization, operation, nameTaken());",
      ),
    ],
    scenario: 'rename',
    other: 4,
  },
  {
    name: 'a step is taken from any step',
    replacements: [
      inFile(
        'organization/journal.ts',
        "        ...(operation !== null && 'step' in operation && { 'operation.step': operation.step }),\n",
        '',
      ),
    ],
    scenario: 'rename',
    other: 2,
  },
  {
    name: 'an operation is ended without comparing it',
    replacements: [
      inFile(
        'organization/journal.ts',
        "{ _id, 'operation.id': operation?.id ?? '' },\n      { $set: ended",
        '{ _id },\n      { $set: ended',
      ),
    ],
    scenario: 'rename',
    other: 1,
    fault: 'pause',
    meanwhile: 'another dies while it renames it on',
  },
  {
    name: 'an operation is begun without comparing the version',
    replacements: [inFile('organization/journal.ts', '{ _id, version: idle.version },', '{ _id },')],
    scenario: 'rename',
    other: 1,
    fault: 'pause',
    meanwhile: 'another dies while it renames it on',
  },
  {
    name: 'the collection of a create that was rolled back is dropped with what is in it',
    replacements: [inFile(COLLECTIONS, "if (state === 'unused' && ", "if (state === 'foreign' && ")],
    scenario: 'create',
    other: 1,
    fault: 'pause',
    meanwhile: 'a collection of that name appears',
  },
  {
    name: 'a change of an admin that was refused can be made later',
    replacements: [
      inFile(
        'admin/credentials.ts',
        'updateOne({ _id, version }, { $inc: { version: 1 } })',
        'updateOne({ _id, version }, { $inc: { version: 0 } })',
      ),
    ],
    scenario: 'rename where the email is taken',
    other: 1,
    fault: 'pause',
    meanwhile: 'the email becomes free',
  },
  {
    name: 'a name is taken over without comparing the operation',
    replacements: [
      inFile(
        CLAIMS,
        'const asRead = { _id, operation_id: holder.operation_id, due_at: holder.due_at };',
        'const asRead = { _id };',
      ),
    ],
    scenario: 'create where a create that died left claims',
    other: 4,
  },
  {
    name: 'a create claims before it is journaled',
    replacements: [
      inFile(
        CREATE,
        'const creating = await journal(context, name, ids);',
        'await claimName(context, { key: name.key, organizationId: ids.organizationId, operationId: ids.organizationId });\n  const creating = await journal(context, name, ids);',
      ),
    ],
    scenario: 'create',
    other: 40,
  },
  {
    name: 'a create commits though it was rolled back',
    replacements: [
      inFile(
        CREATE,
        "      { _id, status: 'creating' },\n      { $set: { status: 'active', placement }",
        "      { _id },\n      { $set: { status: 'active', placement }",
      ),
    ],
    scenario: 'create',
    other: 8,
  },
  {
    name: 'an existing collection is adopted',
    replacements: [
      inFile(COLLECTIONS, 'const isFree = !there.has(collection);', 'const isFree = true;'),
      inFile(
        COLLECTIONS,
        '  return false;\n}\n\n/** What became of a move.',
        '  return true;\n}\n\n/** What became of a move.',
      ),
    ],
    scenario: 'create where a foreign collection has the name',
    other: 40,
  },
  {
    name: 'no stub is left',
    replacements: [
      inFile(
        'organization/erase.ts',
        '  await leaveStub(context, organization, log);',
        '  await context.master.organizations.deleteOne({ _id: organization._id });',
      ),
    ],
    scenario: 'create',
    other: 20,
  },
  {
    name: 'an erasure is not repeated',
    replacements: [
      {
        file: 'src/domain/reconcile.ts',
        from: "if (status === 'erased') return eraseOrganization(",
        to: "if (status === ('never' as string)) return eraseOrganization(",
      },
    ],
    scenario: 'an erasure that is repeated',
    other: 40,
  },
  {
    name: 'a purge does not compare',
    replacements: [
      inFile(
        'organization/delete.ts',
        "{ _id, version, status: 'deleted', operation: null, purge_at: { $lte: context.clock() } }",
        '{ _id }',
      ),
    ],
    scenario: 'purge against a restore',
    other: 10,
  },
  {
    name: 'a kept organization is purged when its open move is due',
    replacements: [
      inFile(
        'organization/journal.ts',
        'due_at: purge_at ?? (next_placement === null ? null : nextLook(clock(), next_placement.since)),',
        'due_at: next_placement === null ? purge_at : nextLook(clock(), next_placement.since),',
      ),
      inFile('organization/delete.ts', 'operation: null, purge_at: { $lte: context.clock() } }', 'operation: null }'),
    ],
    scenario: 'an open move against a delete with retention',
    other: 40,
  },
  {
    name: 'mails are sent about changes that did not happen',
    replacements: [
      inFile(
        'outbox/outbox.ts',
        'if (mail.change !== null && !(await wasChangedBy(context, admin, mail.change.id))) {',
        'if (mail.change !== null && mail.change.id === admin._id) {',
      ),
    ],
    scenario: 'rename with email and password',
    other: 40,
  },
  {
    name: 'a change of an admin does not compare the version',
    replacements: [
      inFile(
        'admin/credentials.ts',
        'updateOne({ _id, version }, { $set, $inc })',
        'updateOne({ _id }, { $set, $inc })',
      ),
    ],
    scenario: 'rename with email and password',
    other: 8,
  },
];

/** @returns whether the harness has found it, and what it said first */
function tryMutation({ replacements, scenario, other, fault, meanwhile }: Mutation): {
  readonly found: boolean;
  readonly said: string;
} {
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-mutation-'));
  try {
    for (const part of ['src', 'test/lifecycle', 'test/support', 'package.json']) {
      cpSync(join(REPOSITORY, part), join(directory, part), { recursive: true });
    }
    symlinkSync(join(REPOSITORY, 'node_modules'), join(directory, 'node_modules'));
    for (const { file, from, to } of replacements) {
      const path = join(directory, file);
      const text = readFileSync(path, 'utf8');
      writeFileSync(
        path,
        text.replace(from, () => to),
      );
    }
    const args = ['test/lifecycle/run.ts', '--scenario', scenario, '--other', String(other), '--failures', '1'];
    if (fault !== undefined) args.push('--fault', fault);
    if (meanwhile !== undefined) args.push('--meanwhile', meanwhile);
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: directory, encoding: 'utf8' });
    const lines = stdout.split('\n');
    const at = lines.findIndex((line) => line.startsWith('FAILED '));
    // A mutation that does not run shows nothing.
    if (/SyntaxError|ReferenceError/.test(stdout + stderr)) throw new Error(`${stdout}${stderr}`);
    return {
      found: at >= 0,
      said: lines
        .slice(Math.max(at, 0), at + 2)
        .join('\n')
        .slice(0, 300),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const { file, from } of MUTATIONS.flatMap(({ replacements }) => replacements)) {
  const text = readFileSync(join(REPOSITORY, file), 'utf8');
  if (text.split(from).length !== 2) throw new Error(`This is not once in ${file}: ${from}`);
}
const wanted = process.argv[2] ?? '';
const chosen = MUTATIONS.filter(({ name }) => name.includes(wanted));
if (chosen.length === 0) throw new Error(`No mutation has this in its name: ${wanted}`);
let missed = 0;
for (const mutation of chosen) {
  const started = performance.now();
  const { found, said } = tryMutation(mutation);
  if (!found) missed++;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${found ? 'found' : 'MISSED'}: ${mutation.name} (${seconds} s)\n`);
  if (found) process.stdout.write(`    ${said.replaceAll('\n', '\n    ')}\n`);
}
process.stdout.write(`${missed === 0 ? 'All were found.' : `${missed} were MISSED.`}\n`);
process.exitCode = missed === 0 ? 0 : 1;
