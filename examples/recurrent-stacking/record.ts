/** What one run leaves behind, and what it comes to. */
import type { EpochRecord } from '../common/text_model.js';
import type { AboutText } from '../common/text_source.js';
import type { VariantRecord } from '../common/variant_command.js';
import { median } from '../common/variant_runs.js';
import { VARIANTS, type Settings, type VariantName } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/recurrent-stacking/1';

export interface Run {
  seed: number;
  variant: VariantName;
  parameters: number;
  /** Weights as float32, our file without loss, and our file with a few bits a weight. */
  bytes: { float32: number; lossless: number; compressed: number };
  epochs: EpochRecord[];
  /** Of the epoch that was kept. The test text was read once, as trained and as compressed. */
  perplexity: { validation: number; test: number; compressed: number };
  seconds: number;
}

export type RunRecord = VariantRecord<Settings, Run, AboutText>;

export const runsOf = ({ runs }: Pick<RunRecord, 'runs'>, variant: VariantName): Run[] => runs.filter((run) => run.variant === variant);

export const medianOf = (record: Pick<RunRecord, 'runs'>, variant: VariantName, value: (run: Run) => number): number => median(runsOf(record, variant).map(value));

/** The last line of `--json`: medians over the seeds. */
export function summarize(record: RunRecord): Record<string, unknown> {
  const rounded = (value: number) => Number(value.toFixed(3));
  const variants = VARIANTS.map((variant) => {
    const of = (value: (run: Run) => number) => rounded(medianOf(record, variant, value));
    return [variant, { parameters: of((r) => r.parameters), testPerplexity: of((r) => r.perplexity.test), compressedPerplexity: of((r) => r.perplexity.compressed), float32Bytes: of((r) => r.bytes.float32), losslessBytes: of((r) => r.bytes.lossless), compressedBytes: of((r) => r.bytes.compressed) }];
  }); // prettier-ignore
  return { ...Object.fromEntries(variants), seeds: record.seeds.length, seconds: rounded(record.runs.reduce((sum, run) => sum + run.seconds, 0)) };
}
