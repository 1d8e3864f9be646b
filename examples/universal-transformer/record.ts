/** What one run leaves behind, and what it comes to. */
import type { VariantRecord } from '../common/variant_command.js';
import { median } from '../common/variant_runs.js';
import { MODELS, type ModelName, type Settings, type Task, type VariantName } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/universal-transformer/1';

/** Of sequences of one length, or of all lengths trained on (length null). */
export interface Accuracy {
  set: 'trained' | 'heldOut' | 'test';
  length: number | null;
  /** Share of the sequences of which every symbol is right, each predicted after the right ones before it; then the model's own answer is right too. */
  sequence: number;
  /** Share of the symbols. */
  character: number;
}

/** Mean steps of positions; of the lengths trained on and of those of the test. */
export interface Ponder {
  set: 'trained' | 'test';
  question: number;
  answer: number;
  /** Addition: of digits into which a carry comes, and of the others. */
  carry: { with: number; without: number } | null;
  /** Share of the positions that had not halted after the most steps. */
  unhalted: number;
}

export interface Checkpoint {
  step: number;
  /** Mean since the last one, ponder cost included. */
  loss: number;
  /** Character accuracy at the held-out lengths. */
  heldOut: number;
  /** Mean steps of all positions of the last training batch. */
  ponder: number | null;
}

export interface Run {
  seed: number;
  variant: VariantName;
  parameters: number;
  checkpoints: Checkpoint[];
  accuracies: Accuracy[];
  ponder: Ponder[];
  seconds: number;
}

export type RunRecord = VariantRecord<Settings, Run, null>;

export const runsOf = ({ runs }: RunRecord, task: Task, model: ModelName): Run[] => runs.filter(({ variant }) => variant === `${task} ${model}`);

/** Means over the lengths of a set, medians over the seeds. */
export function accuracyOf(record: RunRecord, task: Task, model: ModelName, set: Accuracy['set']): { sequence: number; character: number } {
  const value = (name: 'sequence' | 'character') => median(runsOf(record, task, model).map(({ accuracies }) => mean(accuracies.filter((each) => each.set === set).map((each) => each[name]))));
  return { sequence: value('sequence'), character: value('character') };
}

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Medians over the seeds of the mean steps at the lengths trained on. */
export function ponderOf(record: RunRecord, task: Task, set: Ponder['set'] = 'trained'): Ponder {
  const all = runsOf(record, task, 'adaptive').map(({ ponder }) => ponder.find((each) => each.set === set)!);
  const of = (value: (ponder: Ponder) => number) => median(all.map(value));
  return {
    set, question: of((p) => p.question), answer: of((p) => p.answer), unhalted: of((p) => p.unhalted),
    carry: all[0].carry === null ? null : { with: of((p) => p.carry!.with), without: of((p) => p.carry!.without) },
  }; // prettier-ignore
}

/** The last line of `--json`. */
export function summarize(record: RunRecord): Record<string, unknown> {
  const rounded = (value: number) => Number(value.toFixed(4));
  const perTask = record.settings.data.tasks.map((task) => {
    const { question, answer, carry } = ponderOf(record, task);
    const models = MODELS.map((model) => {
      const [trained, test] = [accuracyOf(record, task, model, 'trained'), accuracyOf(record, task, model, 'test')];
      return [model, { trainedSequence: rounded(trained.sequence), trainedCharacter: rounded(trained.character), testSequence: rounded(test.sequence), testCharacter: rounded(test.character) }];
    });
    const ponder = { question: rounded(question), answer: rounded(answer), ...(carry === null ? {} : { withCarry: rounded(carry.with), withoutCarry: rounded(carry.without) }) };
    return [task, { ...Object.fromEntries(models), ponder }];
  });
  return { ...Object.fromEntries(perTask), seeds: record.seeds.length, seconds: Number(record.runs.reduce((sum, run) => sum + run.seconds, 0).toFixed(1)) };
}
