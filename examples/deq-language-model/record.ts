/** What one run leaves behind, and what it comes to. */
import type { MemoryAtDepth, SolverTrace } from '../common/deq_measure.js';
import type { EpochRecord } from '../common/text_model.js';
import type { AboutText } from '../common/text_source.js';
import type { VariantRecord } from '../common/variant_command.js';
import { median } from '../common/variant_runs.js';
import { VARIANTS, type Settings, type VariantName } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/deq-language-model/1';

/** Means over an epoch's batches in training, of an equilibrium that is solved. */
export interface SolveRecord {
  epoch: number;
  /** Evaluations of the cell forward, products with its Jacobian backward. */
  iterations: number;
  backwardIterations: number;
  /** Relative, mean over the samples. */
  residual: number;
  /** Share of the samples. */
  unconverged: number;
}

export interface Run {
  seed: number;
  variant: VariantName;
  parameters: number;
  epochs: EpochRecord[];
  /** Empty but for the equilibrium; its first epochs, unrolled, have none. */
  solves: SolveRecord[];
  /** Of the epoch that was kept; the test text was read once, with its weights. */
  perplexity: { validation: number; test: number };
  /** Of training. */
  seconds: number;
  /** Of one step of the trained network on a batch. */
  stepMilliseconds: number;
  stepBytes: number;
  residuals: SolverTrace[];
  memory: MemoryAtDepth[];
}

export type RunRecord = VariantRecord<Settings, Run, AboutText>;

export const MIB = 2 ** 20;

export const runsOf = ({ runs }: Pick<RunRecord, 'runs'>, variant: VariantName): Run[] => runs.filter((run) => run.variant === variant);

export const medianOf = (record: Pick<RunRecord, 'runs'>, variant: VariantName, value: (run: Run) => number): number => median(runsOf(record, variant).map(value));

/** The last line of `--json`: medians over the seeds. */
export function summarize(record: RunRecord): Record<string, unknown> {
  const variants = VARIANTS.map((variant) => {
    const of = (value: (run: Run) => number, digits: number) => Number(medianOf(record, variant, value).toFixed(digits));
    return [variant, { parameters: of((run) => run.parameters, 0), testPerplexity: of((run) => run.perplexity.test, 3), stepMiB: of((run) => run.stepBytes / MIB, 2), stepMilliseconds: of((run) => run.stepMilliseconds, 1), seconds: of((run) => run.seconds, 1) }];
  }); // prettier-ignore
  const residual = medianOf(record, 'equilibrium', ({ solves }) => solves.at(-1)?.residual ?? NaN);
  return { ...Object.fromEntries(variants), residual: Number.isNaN(residual) ? null : Number(residual.toPrecision(3)), seeds: record.seeds.length };
}
