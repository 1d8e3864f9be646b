/** What Ctrl-C leaves behind so that `--resume` can go on: the state as JSON, and the model in a resumable save. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tfl from '@tensorflow/tfjs-layers';
import { compressed } from 'tfjs-weight-sharing';
import type { EpochRecord, RetrainingEpoch, SeedRecord } from './record.js';
import type { Settings } from './settings.js';

const FORMAT = 'tfjs-weight-sharing/compression-checkpoint/1';

/** What is known about the quantised model before the other methods and the test images are looked at. */
export type Outcome = Pick<
  SeedRecord,
  'histograms' | 'quantizedValues' | 'mixture' | 'merges' | 'components' | 'relativeDistance' | 'nonZeroPercent' | 'tensors' | 'otherBytes' | 'fileBytes'
> & { baselineError: number; retrainedError: number; quantizedError: number };

export interface SeedState {
  seed: number;
  phase: 'baseline' | 'retraining' | 'comparison';
  baseline: EpochRecord[];
  retraining: RetrainingEpoch[];
  outcome: Outcome | null;
  /** Seconds of work so far. */
  seconds: number;
}

/** The part of the command line that a continued run must not change. */
export interface JobOptions {
  /** Name of the example. */
  example: string;
  /** Folder of the IDX files; null: rendered digits. */
  data: string | null;
  seeds: number;
  firstSeed: number;
  comparison: boolean;
  settings: Settings;
}

export interface Checkpoint {
  options: JobOptions;
  finished: SeedRecord[];
  current: SeedState;
}

const folder = (out: string) => join(out, 'checkpoint');
const modelPath = (out: string) => join(folder(out), 'model.tfws');
const statePath = (out: string) => join(folder(out), 'state.json');

/** Saves the state; the model too where training goes on from it. */
export async function saveCheckpoint(out: string, checkpoint: Checkpoint, model: tfl.LayersModel | null): Promise<void> {
  mkdirSync(folder(out), { recursive: true });
  if (model !== null) await model.save(compressed(`file://${modelPath(out)}`, { resumable: true }), { includeOptimizer: true });
  writeFileSync(`${statePath(out)}.part`, JSON.stringify({ format: FORMAT, ...checkpoint }));
  renameSync(`${statePath(out)}.part`, statePath(out));
}

export function readCheckpoint(out: string, example: string): Checkpoint {
  if (!existsSync(statePath(out))) throw new Error(`--resume: no stopped run in ${out} (there is no ${statePath(out)}). Start one without --resume.`);
  const { format, ...checkpoint } = JSON.parse(readFileSync(statePath(out), 'utf8')) as Checkpoint & { format: string };
  if (format !== FORMAT) throw new Error(`--resume: ${statePath(out)} has format '${format}', expected '${FORMAT}'. It is of another version: start again.`);
  if (checkpoint.options.example !== example) throw new Error(`--resume: the stopped run in ${out} is one of ${checkpoint.options.example}, not of ${example}.`);
  return checkpoint;
}

export async function loadCheckpointModel(out: string): Promise<tfl.LayersModel> {
  return tfl.loadLayersModel(compressed(`file://${modelPath(out)}`));
}

export function removeCheckpoint(out: string): void {
  rmSync(folder(out), { recursive: true, force: true });
}
