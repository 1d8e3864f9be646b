/** What one run leaves behind, and what it comes to. */
import type { EpochRecord } from '../common/text_model.js';
import type { AboutText } from '../common/text_source.js';
import type { VariantRecord } from '../common/variant_command.js';
import { median } from '../common/variant_runs.js';
import { VARIANTS, type Settings, type VariantName } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/shared-attention/1';

/** How alike layers' attention is after an epoch, and what became of it. */
export interface Comparison {
  epoch: number;
  policy: number[];
  /** [layers, layers], in nats; −1 where a layer never made attention weights of its own. */
  divergence: number[][];
}

export interface Run {
  seed: number;
  variant: VariantName;
  policy: number[];
  /** Without the projections that the policy does not use. */
  parameters: number;
  epochs: EpochRecord[];
  comparisons: Comparison[];
  /** Of the epoch that was kept; the test text was read once, by the model without unused projections. */
  perplexity: { validation: number; test: number };
  seconds: number;
}

/** Decoded tokens per second, all sequences of the batch counted, and medians over rounds of time without sharing over time with it. */
export interface DecodingSpeed {
  tokensPerSecond: Record<VariantName, number>;
  faster: Record<VariantName, number>;
}

/** With keys and values kept from step to step, and with a pass over all positions at each step. */
export interface Measured {
  cached: DecodingSpeed;
  uncached: DecodingSpeed;
}

export type RunRecord = VariantRecord<Settings, Run, AboutText, Measured>;

export const runsOf = ({ runs }: Pick<RunRecord, 'runs'>, variant: VariantName): Run[] => runs.filter((run) => run.variant === variant);

/** Median over the seeds, in nats per token. */
export const testLoss = (record: Pick<RunRecord, 'runs'>, variant: VariantName): number => median(runsOf(record, variant).map(({ perplexity }) => Math.log(perplexity.test)));

/** Percent. */
export const worse = (record: Pick<RunRecord, 'runs'>, variant: VariantName): number => 100 * (testLoss(record, variant) / testLoss(record, 'unshared') - 1);

/** The last line of `--json`. */
export function summarize(record: RunRecord): Record<string, unknown> {
  const rounded = (value: number) => Number(value.toFixed(4));
  const { cached, uncached } = record.measured!;
  const rows = VARIANTS.map((variant) => {
    const [{ policy, parameters }] = runsOf(record, variant);
    const speed = ({ tokensPerSecond, faster }: DecodingSpeed) => ({ tokensPerSecond: rounded(tokensPerSecond[variant]), faster: rounded(faster[variant]) });
    return [variant, { policy, parameters, testLoss: rounded(testLoss(record, variant)), worsePercent: rounded(worse(record, variant)), cached: speed(cached), uncached: speed(uncached) }];
  });
  return { ...Object.fromEntries(rows), seeds: record.seeds.length, seconds: rounded(record.runs.reduce((sum, run) => sum + run.seconds, 0)) };
}
