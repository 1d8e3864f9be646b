/** Tasks in worker processes: each takes the next task when it has done one. A task that fails, or takes its process along, holds up no other. */
import { fork, type ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** What a worker answers to each task. */
export interface Reply {
  error?: string;
}

export interface Pool<Task> {
  /** Runs all tasks; `onDone` is called after each, with the reason where it failed. */
  run(tasks: readonly Task[], onDone: (task: Task, failure: string | null) => void): Promise<void>;
  stop(): void;
}

/** @param script module of a worker: it is sent tasks and sends a `Reply` to each */
export function startPool<Task extends object>(script: string, size: number): Pool<Task> {
  // Backends would start a thread per core in each of them.
  const threads = String(Math.max(1, Math.floor(availableParallelism() / size)));
  const env = { OMP_NUM_THREADS: threads, TF_NUM_INTRAOP_THREADS: threads, ...process.env };
  const start = () => fork(script, [], { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const workers = Array.from({ length: size }, start);
  return {
    async run(tasks, onDone) {
      const queue = [...tasks];
      const work = async (slot: number) => {
        for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
          if (!workers[slot].connected) workers[slot] = start();
          onDone(task, await perform(workers[slot], task));
        }
      };
      await Promise.all(workers.map((_, slot) => work(slot)));
    },
    stop: () => workers.forEach((worker) => worker.kill()),
  };
}

/** Null where it went well. */
function perform(worker: ChildProcess, task: object): Promise<string | null> {
  return new Promise((resolve) => {
    const onMessage = ({ error }: Reply) => done(error ?? null);
    const onExit = (code: number | null, signal: string | null) => done(`its process ended (${signal ?? `exit code ${code}`})`);
    const onError = ({ message }: Error) => done(message);
    const done = (failure: string | null) => {
      worker.off('message', onMessage).off('exit', onExit).off('error', onError);
      resolve(failure);
    };
    worker.on('message', onMessage).on('exit', onExit).on('error', onError);
    worker.send(task, (error) => error && done(error.message));
  });
}
