/** Everything one run leaves behind, as plain JSON: the report is rendered from it alone, also much later. */
import type { MemoryAtDepth, SolverTrace } from '../common/deq_measure.js';
import type { VariantRecord } from '../common/variant_command.js';
import { median } from '../common/variant_runs.js';
import { VARIANTS, type Settings, type VariantName } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/deq-mnist/1';

export interface EpochRecord {
  epoch: number;
  loss: number;
  /** Error in percent on held-out images. */
  validation: number;
  /** Evaluations of the cell per batch, forward, and products with its Jacobian, backward; null without a cell that is iterated. */
  iterations: number | null;
  backwardIterations: number | null;
}

export interface Run {
  seed: number;
  variant: VariantName;
  parameters: number;
  epochs: EpochRecord[];
  /** Percent. The test images were read once, after the last epoch. */
  testError: number;
  /** Of training. */
  seconds: number;
  /** Of one step of the trained network on a batch. */
  stepMilliseconds: number;
  stepBytes: number;
  /** Of the equilibrium only. */
  residuals: SolverTrace[];
  /** Empty for the explicit network. */
  memory: MemoryAtDepth[];
}

export interface About {
  origin: string;
  train: number;
  validation: number;
  test: number;
}

export type RunRecord = VariantRecord<Settings, Run, About>;

/** The last line of `--json`: medians over the seeds. */
export type Summary = Record<VariantName, { testError: number; parameters: number; stepMiB: number; stepMilliseconds: number; seconds: number }> & { seeds: number };

export const MIB = 2 ** 20;

export const runsOf = ({ runs }: Pick<RunRecord, 'runs'>, variant: VariantName): Run[] => runs.filter((run) => run.variant === variant);

export function summarize(record: RunRecord): Summary {
  const of = (variant: VariantName) => {
    const runs = runsOf(record, variant);
    const middle = (value: (run: Run) => number, digits: number) => Number(median(runs.map(value)).toFixed(digits));
    return {
      testError: middle((run) => run.testError, 3),
      parameters: runs[0].parameters,
      stepMiB: middle((run) => run.stepBytes / MIB, 2),
      stepMilliseconds: middle((run) => run.stepMilliseconds, 1),
      seconds: middle((run) => run.seconds, 1),
    };
  };
  return { ...(Object.fromEntries(VARIANTS.map((variant) => [variant, of(variant)])) as Record<VariantName, ReturnType<typeof of>>), seeds: record.seeds.length };
}
