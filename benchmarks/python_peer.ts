/** A Python process that does the same work with another library: it gets a line, and answers with one. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface PythonPeer {
  /** The numbers of the answer to `line`. */
  ask(line: string): Promise<number[]>;
  stop(): void;
}

/**
 * Starts `script` beside this file with the Python that the environment variable `variable` names; null where it names none. Its threads wait passively
 * (OMP_WAIT_POLICY): spinning ones take the processors from ours.
 */
export function startPython(variable: string, script: string, needs: string): PythonPeer | null {
  const python = process.env[variable];
  if (python === undefined) return null;
  const child = spawn(python, [fileURLToPath(new URL(script, import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, OMP_NUM_THREADS: '2', OMP_WAIT_POLICY: 'PASSIVE' },
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    async ask(line) {
      child.stdin.write(`${line}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`bench: the Python of ${variable} ended; does it have ${needs}?`);
      return String(value).split(' ').map(Number);
    },
    stop: () => void child.kill(),
  };
}
