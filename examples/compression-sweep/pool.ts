/** Tasks in worker processes: each takes the next task when it has done one; an error of a task ends them all. */
import { fork, type ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Task } from './trials.js';
import type { Reply } from './worker.js';

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));

export interface Pool {
  /** Runs all tasks; `onDone` is called after each. */
  run(tasks: readonly Task[], onDone: (task: Task) => void): Promise<void>;
  stop(): void;
}

export function startPool(size: number): Pool {
  // Backends would start a thread per core in each of them.
  const threads = String(Math.max(1, Math.floor(availableParallelism() / size)));
  const env = { OMP_NUM_THREADS: threads, TF_NUM_INTRAOP_THREADS: threads, ...process.env };
  const workers = Array.from({ length: size }, () => fork(WORKER, [], { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }));
  return {
    async run(tasks, onDone) {
      const queue = [...tasks];
      await Promise.all(
        workers.map(async (worker) => {
          for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
            await perform(worker, task);
            onDone(task);
          }
        }),
      );
    },
    stop: () => workers.forEach((worker) => worker.kill()),
  };
}

function perform(worker: ChildProcess, task: Task): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (why: string) => reject(new Error(`compression-sweep: the ${task.kind} with ${[...task.trial.varied, `seed ${task.trial.seed}`].join(', ')} failed: ${why}`));
    const onExit = (code: number | null, signal: string | null) => failed(`its process ended (${signal ?? `exit code ${code}`}).`);
    worker.once('exit', onExit);
    worker.once('message', ({ error }: Reply) => {
      worker.off('exit', onExit);
      if (error === undefined) resolve();
      else failed(error);
    });
    worker.send(task);
  });
}
