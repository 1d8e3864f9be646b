/** The trials of a sweep: every combination of the values to vary, each with a name that its settings determine. */
import { createHash, type Hash } from 'node:crypto';
import { overrideSettings, type Settings } from '../common/compression/settings.js';
import type { DataSet } from '../common/images.js';

export interface Trial {
  /** Hash of all that determines the result: a trial that was run is never run again. */
  id: string;
  /** Hash of what determines the trained network that it starts from; trials share it. */
  baselineId: string;
  seed: number;
  settings: Settings;
  /** The assignments that tell it from the others of its sweep. */
  varied: string[];
}

/** What a worker is asked to do. */
export interface Task {
  kind: 'baseline' | 'trial';
  example: string;
  /** Folder of the IDX files; null: drawn digits. */
  data: string | null;
  backend: string;
  out: string;
  trial: Trial;
}

/** What is known of a trial; errors in percent, on held-out images. */
export interface TrialResult {
  id: string;
  seed: number;
  varied: string[];
  settings: Settings;
  baselineError: number;
  retrainedError: number;
  quantizedError: number;
  /** Held-out error after each epoch. */
  errors: number[];
  fileBytes: number;
  ratio: number;
  values: number;
  nonZeroPercent: number;
  relativeDistance: number;
  tensors: { name: string; parameters: number; bytes: number }[];
  seconds: number;
}

/** A trial without a result, and why. */
export interface FailedTrial extends Pick<Trial, 'id' | 'seed' | 'varied'> {
  reason: string;
}

export interface SweepPlan {
  example: string;
  /** Of the images: goes into the names of trials, so that two sets are never mixed. */
  dataHash: string;
  /** Likewise. */
  backend: string;
  base: Settings;
  /** `section.name=[value, value, …]`, values in JSON. */
  vary: readonly string[];
  seeds: number;
}

/** All combinations, seeds innermost. */
export function planTrials({ example, dataHash, backend, base, vary, seeds }: SweepPlan): Trial[] {
  const axes = vary.map(parseAxis);
  const common = [example, dataHash, backend];
  const combinations = axes.reduce<string[][]>((lists, axis) => lists.flatMap((list) => axis.map((value) => [...list, value])), [[]]);
  return combinations.flatMap((varied) =>
    Array.from({ length: seeds }, (_, i) => {
      const seed = i + 1;
      const settings = overrideSettings(base, varied);
      return {
        id: hash([...common, seed, settings.baseline, settings.retraining]),
        baselineId: hash([...common, seed, settings.baseline]),
        seed,
        settings,
        varied,
      };
    }),
  );
}

/** Trials that no other beats in both: ascending in ratio, and so in error. */
export function paretoFront<T extends { ratio: number; quantizedError: number }>(results: readonly T[]): T[] {
  const falling = [...results].sort((a, b) => b.ratio - a.ratio || a.quantizedError - b.quantizedError);
  const front: T[] = [];
  for (const result of falling) if (front.length === 0 || result.quantizedError < front[front.length - 1].quantizedError) front.push(result);
  return front.reverse();
}

function parseAxis(axis: string): string[] {
  const [, name, text] = /^([\w.]+)=(.*)$/.exec(axis) ?? [];
  let values: unknown = null;
  try {
    values = JSON.parse(text ?? '');
  } catch {
    // Said below, as for any other value that is no list.
  }
  if (!Array.isArray(values) || values.length === 0) throw new Error(`--vary: expected section.name=[value, …] with a JSON list, got '${axis}'. Example: 'retraining.tau=[0.01,0.02]'.`);
  return values.map((value) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
}

/** Of the images to train and to choose on, and their labels. */
export function hashOf({ train, validation }: Pick<DataSet, 'train' | 'validation'>): string {
  const sha = createHash('sha256');
  for (const { images, labels, width, height } of [train, validation]) sha.update(`${width} ${height} ${labels.length} `).update(images).update(labels);
  return shortened(sha);
}

const hash = (value: unknown): string => shortened(createHash('sha256').update(JSON.stringify(value)));
const shortened = (sha: Hash): string => sha.digest('hex').slice(0, 12);
