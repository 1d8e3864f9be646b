/** Everything one run leaves behind, as plain JSON: the report is rendered from it alone, also much later. */
import type { Level } from '../common/text.js';
import type { Settings, VariantName } from './settings.js';
import { VARIANTS } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/tied-language-model/1';

export interface EpochRecord {
  epoch: number;
  /** What was minimised, per token. */
  loss: number;
  /** Perplexity of the held-out text. */
  validation: number;
}

export interface VariantRecord {
  seed: number;
  variant: VariantName;
  parameters: number;
  epochs: EpochRecord[];
  /** Of the epoch that was kept; the test text was read once, with its weights. */
  perplexity: { validation: number; test: number };
  /** For some common words, those whose vectors are nearest, by the cosine. */
  neighbours: { word: string; nearest: string[] }[];
  seconds: number;
}

export interface RunRecord {
  format: typeof RECORD_FORMAT;
  data: { origin: string; level: Level; vocabulary: number; train: number; validation: number; test: number };
  /** The folder that was given, or null. */
  directory: string | null;
  backend: string;
  settings: Settings;
  seeds: number[];
  runs: VariantRecord[];
}

/** The last line of `--json`: medians over the seeds. */
export interface Summary {
  level: Level;
  vocabulary: number;
  width: number;
  /** Test perplexities. */
  untied: number;
  tied: number;
  augmented: number;
  /** Untied less tied. */
  improvement: number;
  parametersSaved: number;
  seconds: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('median: no values.');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const runsOf = ({ runs }: RunRecord, variant: VariantName): VariantRecord[] => runs.filter((run) => run.variant === variant);

/** Whether every variant has run for every seed. */
export const isFinished = (record: RunRecord): boolean => record.runs.length === VARIANTS.length * record.seeds.length;

export function summarize(record: RunRecord): Summary {
  const test = (variant: VariantName) => median(runsOf(record, variant).map(({ perplexity }) => perplexity.test));
  const parameters = (variant: VariantName) => runsOf(record, variant)[0].parameters;
  const seconds = record.seeds.map((seed) => record.runs.filter((run) => run.seed === seed).reduce((sum, run) => sum + run.seconds, 0));
  const rounded = (value: number) => Number(value.toFixed(3));
  return {
    level: record.data.level,
    vocabulary: record.data.vocabulary,
    width: record.settings.model.width,
    untied: rounded(test('untied')),
    tied: rounded(test('tied')),
    augmented: rounded(test('augmented')),
    improvement: rounded(test('untied') - test('tied')),
    parametersSaved: parameters('untied') - parameters('tied'),
    seconds: Number(median(seconds).toFixed(1)),
  };
}

/** Parses a saved record; another file gives an error that says what it should be. */
export function parseRecord(text: string, name: string): RunRecord {
  let record: RunRecord;
  try {
    record = JSON.parse(text) as RunRecord;
  } catch (error) {
    throw new Error(`${name}: not JSON (${(error as Error).message}). Expected a record.json that tied-language-model has written.`, { cause: error });
  }
  if (record?.format !== RECORD_FORMAT) {
    throw new Error(`${name}: expected a record with format '${RECORD_FORMAT}', got '${record?.format}'. Give a record.json that this version of tied-language-model has written.`);
  }
  return record;
}
