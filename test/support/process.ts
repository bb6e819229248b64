import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';

export type ExitStatus = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** A process that a test started, with all that it started in turn. */
export type RunningProcess = {
  /** Everything it has written to stdout and stderr. */
  output(): string;
  /** Undefined while it runs. */
  exitStatus(): ExitStatus | undefined;
  readonly exited: Promise<ExitStatus>;
  /** Sends the signal to the whole process group. */
  signal(signal: NodeJS.Signals): void;
  /** Whether SIGSTOP has stopped all its threads: a signal is there before it has its effect. */
  isStopped(): boolean;
  /** The memory that the whole process group has resident, in bytes. */
  residentBytes(): number;
  /** Sends the signal to the whole process group, and resolves when the process has ended. */
  kill(signal: NodeJS.Signals): Promise<ExitStatus>;
};

export type ProcessOptions = {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Called with what it writes, as it comes. */
  readonly onOutput?: (text: string) => void;
};

/** How long a process may take to end after a signal before it is killed, in milliseconds. */
const PATIENCE_MS = 15_000;

/** Starts a process in a group of its own. It ends with the test run at the latest. */
export function startProcess(command: string, args: readonly string[], options: ProcessOptions = {}): RunningProcess {
  const chunks: string[] = [];
  let status: ExitStatus | undefined;
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: options.env ?? process.env,
  });
  const endWithRun = () => signalGroup(child, 'SIGKILL');
  process.once('exit', endWithRun);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      chunks.push(text);
      options.onOutput?.(text);
    });
  }
  const exited = new Promise<ExitStatus>((resolve) => {
    const end = (code: number | null, signal: NodeJS.Signals | null) => {
      status ??= { code, signal };
      process.off('exit', endWithRun);
      resolve(status);
    };
    child.on('error', (error) => {
      chunks.push(`${error.message}\n`);
      end(127, null);
    });
    child.on('exit', end);
  });
  return {
    output: () => chunks.join(''),
    exitStatus: () => status,
    exited,
    signal: (signal) => signalGroup(child, signal),
    isStopped: () =>
      globSync(`/proc/${child.pid}/task/*/stat`).every((file) => /\) [Tt] /.test(readFileSync(file, 'utf8'))),
    residentBytes: () =>
      globSync('/proc/[0-9]*').reduce((sum, directory) => sum + residentBytesOf(directory, child.pid), 0),
    kill: async (signal) => {
      if (status === undefined) signalGroup(child, signal);
      const impatience = setTimeout(() => signalGroup(child, 'SIGKILL'), PATIENCE_MS);
      const ended = await exited;
      clearTimeout(impatience);
      // What it started may still be ending.
      signalGroup(child, 'SIGKILL');
      return ended;
    },
  };
}

/** What a process has resident, when it is of this group: proc_pid_stat(5). */
function residentBytesOf(directory: string, group: number | undefined): number {
  try {
    // After the name, which may hold anything.
    const stat = readFileSync(`${directory}/stat`, 'utf8').replace(/^.*\)/s, '').split(' ');
    if (Number(stat[3]) !== group) return 0;
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`${directory}/status`, 'utf8'))?.[1];
    return Number(resident ?? 0) * 1024;
  } catch {
    // It has ended.
    return 0;
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Runs a command to its end.
 * @returns its output
 * @throws {Error} with the end of its output, when it fails
 */
export async function runToEnd(
  command: string,
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<string> {
  const running = startProcess(command, args, options);
  const { code } = await running.exited;
  if (code !== 0) {
    const output = running.output().trim().split('\n').slice(-15).join('\n');
    throw new Error(`${[command, ...args].join(' ')} failed with ${code}:\n${output}`);
  }
  return running.output();
}
