/** Everything a run leaves behind, as plain JSON: it grows by one entry a network, a stopped run goes on from it, the report is made of it. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { METHODS, type Method, type Settings } from './settings.js';
import type { Variant } from './sizes.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/hashed-mnist/1';

export interface Result extends Variant {
  /** Stored, biases included. */
  parameters: number;
  /** Percent, after each epoch, on the held-out images. */
  validationErrors: number[];
  /** Percent. The test images were read once, after the last epoch. */
  testError: number;
  seconds: number;
}

export interface RunRecord {
  format: typeof RECORD_FORMAT;
  data: { origin: string; train: number; validation: number; test: number };
  backend: string;
  settings: Settings;
  results: Result[];
}

/** The last line of `--json`: mean test errors in percent by method and compression. */
export type Summary = Record<Method, Record<string, number>> & {
  /** Mean error of the dense network less that of the one hashed by elements, in points, by compression. */
  advantage: Record<string, number>;
  seeds: number;
};

/** All networks of a run, in the order in which they are trained: a whole curve for one seed before the next. */
export function variants({ compressions }: Settings, seeds: readonly number[]): Variant[] {
  return seeds.flatMap((seed) => compressions.flatMap((compression) => METHODS.map((method) => ({ method, compression, seed }))));
}

export const isOf = (result: Variant, { method, compression, seed }: Variant): boolean =>
  result.method === method && result.compression === compression && result.seed === seed;

export const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

export const resultsOf = ({ results }: Pick<RunRecord, 'results'>, method: Method, compression: number): Result[] =>
  results.filter((result) => result.method === method && result.compression === compression);

export function meanError(record: Pick<RunRecord, 'results'>, method: Method, compression: number): number {
  return mean(resultsOf(record, method, compression).map(({ testError }) => testError));
}

export function summarize(record: Pick<RunRecord, 'results' | 'settings'>): Summary {
  const { compressions } = record.settings;
  const rounded = (value: number) => Number(value.toFixed(3));
  const byCompression = (value: (compression: number) => number) => Object.fromEntries(compressions.map((c) => [c, rounded(value(c))]));
  const errors = Object.fromEntries(METHODS.map((method) => [method, byCompression((c) => meanError(record, method, c))])) as Record<Method, Record<string, number>>;
  return {
    ...errors,
    advantage: byCompression((c) => meanError(record, 'dense', c) - meanError(record, 'element', c)),
    seeds: new Set(record.results.map(({ seed }) => seed)).size,
  };
}

export function writeRecord(record: RunRecord, path: string): void {
  writeFileSync(`${path}.part`, JSON.stringify(record));
  renameSync(`${path}.part`, path);
}

/** @throws Error where the file is missing or is no record of this version. */
export function readRecord(path: string): RunRecord {
  if (!existsSync(path)) throw new Error(`hashed-mnist: there is no ${path}. Start a run without --resume and --report-only.`);
  const record = JSON.parse(readFileSync(path, 'utf8')) as RunRecord;
  if (record.format !== RECORD_FORMAT) throw new Error(`${path}: expected a record with format '${RECORD_FORMAT}', got '${record.format}'.`);
  // JSON has no Infinity.
  for (const rows of Object.values(record.settings.dropout)) for (const row of rows) row.upTo ??= Infinity;
  return record;
}
