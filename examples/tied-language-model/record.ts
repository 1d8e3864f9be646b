/** Everything one run leaves behind, as plain JSON: the report is rendered from it alone, also much later. */
import type { Level } from '../common/text.js';
import type { AboutText } from '../common/text_source.js';
import type { EpochRecord } from '../common/text_model.js';
import type * as command from '../common/variant_command.js';
import { median } from '../common/variant_runs.js';
import type { Settings, VariantName } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/tied-language-model/1';

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

export type RunRecord = command.VariantRecord<Settings, VariantRecord, AboutText>;

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

export const runsOf = ({ runs }: RunRecord, variant: VariantName): VariantRecord[] => runs.filter((run) => run.variant === variant);

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
