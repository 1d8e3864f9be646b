/** Runs the trials of a sweep that have no result yet. Finished trials are files, so a sweep that was stopped goes on where it ended. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withProgress } from '../common/progress.js';
import { startPool } from './pool.js';
import type { FailedTrial, Task, Trial, TrialResult } from './trials.js';

export interface SweepRun {
  /** Folder of the IDX files; null: drawn digits. */
  data: string | null;
  example: string;
  backend: string;
  out: string;
  workers: number;
  /** Module of the worker processes. */
  script: string;
}

export interface SweepOutcome {
  results: TrialResult[];
  /** Tried again by the next run. */
  failures: FailedTrial[];
}

/** The networks that trials start from come first; where one fails, so do its trials. */
export async function runTrials(trials: readonly Trial[], { workers, script, ...common }: SweepRun, say: (line: string) => void): Promise<SweepOutcome> {
  const open = trials.filter(({ id }) => !existsSync(resultPath(common.out, id)));
  if (open.length < trials.length) say(`${trials.length - open.length} of ${trials.length} trials were run before.`);
  const failures = open.length === 0 ? new Map<string, string>() : await runOpen(open, common, script, Math.min(workers, open.length), say);
  return {
    results: trials.filter(({ id }) => !failures.has(id)).map(({ id, varied }) => ({ ...readResult(common.out, id), varied })),
    failures: trials.flatMap(({ id, seed, varied }) => (failures.has(id) ? [{ id, seed, varied, reason: failures.get(id)! }] : [])),
  };
}

/** Reasons by the ids of the trials that failed. */
async function runOpen(open: readonly Trial[], common: Omit<Task, 'kind' | 'trial'>, script: string, size: number, say: (line: string) => void): Promise<Map<string, string>> {
  const networks = [...new Map(open.map((trial) => [trial.baselineId, trial])).values()];
  const tasks = (kind: Task['kind'], of: readonly Trial[]): Task[] => of.map((trial) => ({ ...common, kind, trial }));
  const failures = new Map<string, string>();
  const pool = startPool<Task>(script, size);
  try {
    await withProgress('sweep', networks.length + open.length, 0, async (progress) => {
      let done = 0;
      await pool.run(tasks('baseline', networks), ({ trial }, failure) => {
        const stranded = failure === null ? [] : open.filter(({ baselineId }) => baselineId === trial.baselineId);
        for (const { id } of stranded) failures.set(id, `the network that it starts from was not trained: ${failure}`);
        done += 1 + stranded.length;
        progress.update(done, failure === null ? 'a network is trained' : `a network failed: ${failure}`);
      });
      await pool.run(tasks('trial', open.filter(({ id }) => !failures.has(id))), ({ trial, out }, failure) => {
        if (failure !== null) failures.set(trial.id, failure);
        progress.update(++done, failure === null ? describe(readResult(out, trial.id)) : `${trialName(trial)} failed`);
      });
      progress.finish();
    });
  } finally {
    pool.stop();
  }
  for (const trial of open) if (failures.has(trial.id)) say(`${trialName(trial)} failed: ${failures.get(trial.id)}`);
  return failures;
}

export const trialName = ({ varied, seed }: Pick<Trial, 'varied' | 'seed'>): string => [...varied, `seed ${seed}`].join(', ');

const describe = (result: TrialResult): string => `${trialName(result)}: ${result.quantizedError.toFixed(2)} % at ${result.ratio.toFixed(1)}×`;

export const resultPath = (out: string, id: string): string => join(out, 'trials', `${id}.json`);

const readResult = (out: string, id: string): TrialResult => JSON.parse(readFileSync(resultPath(out, id), 'utf8')) as TrialResult;
