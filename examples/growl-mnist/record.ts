/** Everything one run leaves behind, as plain JSON: the report is rendered from it alone, also much later. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { median } from '../common/variant_runs.js';
import type { CorrelatedResult } from './correlated.js';
import type { NetworkName } from './networks.js';
import type { ParetoPoint } from './pareto.js';
import { METHODS, type Method, type Settings } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/growl-mnist/1';

export interface Variant {
  network: NetworkName;
  method: Method;
  seed: number;
}

/** What the two stages did to one penalised kernel. */
export interface LayerResult {
  layer: string;
  rows: number;
  live: number;
  /** Distinct rows beside those of zeros. */
  distinct: number;
  /** Norms of the rows after the first stage, falling. */
  norms: number[];
  /** Cluster of each row, −1 for dead ones; rows are input pixels in the first layer. */
  labels: number[];
  /** Similarities of the rows after the first stage, in the order of their clusters, the largest first; at most some dozens of rows. */
  similarity: number[][];
}

export interface NetworkResult extends Variant {
  parameters: number;
  /** Validation errors in percent, by epoch of both stages. */
  validationErrors: number[];
  testError: number;
  layers: LayerResult[];
  /** Share of the weights of the penalised kernels in rows of zeros. */
  sparsity: number;
  /** The paper's count: weights of the penalised kernels over those of their distinct rows, dead units removed. */
  paperRatio: number;
  fileBytes: number;
  /** 4 bytes × all parameters of the network over the bytes of the file. */
  ratio: number;
  seconds: number;
}

export interface RunRecord {
  format: typeof RECORD_FORMAT;
  data: { origin: string; train: number; validation: number; test: number };
  backend: string;
  settings: Settings;
  networks: NetworkResult[];
  correlated: CorrelatedResult[];
  pareto: ParetoPoint[];
}

/** The last line of `--json`: medians over the seeds, by network and method. */
export interface MethodSummary {
  testError: number;
  /** Percentage points above the same network without a penalty, median over the seeds. */
  errorIncrease: number | null;
  sparsity: number;
  distinctRows: number;
  paperRatio: number;
  fileBytes: number;
  ratio: number;
}

export interface Summary {
  networks: Partial<Record<NetworkName, Partial<Record<Method, MethodSummary>>>>;
  correlated: Record<string, { adjustedRandIndex: number }>;
  seconds: number;
}

export function summarize(record: RunRecord): Summary {
  const networks: Summary['networks'] = {};
  for (const network of new Set(record.networks.map((result) => result.network))) {
    networks[network] = {};
    for (const method of METHODS) {
      const results = record.networks.filter((result) => result.network === network && result.method === method);
      if (results.length > 0) networks[network][method] = summarizeMethod(record, results);
    }
  }
  const correlated = Object.fromEntries(record.correlated.map(({ method, adjustedRandIndex }) => [method, { adjustedRandIndex: round(adjustedRandIndex, 3) }]));
  return { networks, correlated, seconds: round(record.networks.reduce((sum, { seconds }) => sum + seconds, 0), 1) };
}

function summarizeMethod(record: RunRecord, results: NetworkResult[]): MethodSummary {
  const of = (pick: (result: NetworkResult) => number, digits: number) => round(median(results.map(pick)), digits);
  const increases = results.flatMap((result) => {
    const plain = record.networks.find(({ network, method, seed }) => network === result.network && method === 'plain' && seed === result.seed);
    return plain === undefined ? [] : [result.testError - plain.testError];
  });
  return {
    testError: of((r) => r.testError, 3),
    errorIncrease: increases.length === 0 ? null : round(median(increases), 3),
    sparsity: of((r) => r.sparsity, 4),
    distinctRows: of((r) => r.layers.reduce((sum, { distinct }) => sum + distinct, 0), 1),
    paperRatio: of((r) => r.paperRatio, 2),
    fileBytes: of((r) => r.fileBytes, 1),
    ratio: of((r) => r.ratio, 2),
  };
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

export const isOf = (result: Variant, { network, method, seed }: Variant): boolean => result.network === network && result.method === method && result.seed === seed;

export function writeRecord(record: RunRecord, path: string): void {
  writeFileSync(`${path}.part`, JSON.stringify(record));
  renameSync(`${path}.part`, path);
}

export function readRecord(path: string): RunRecord {
  if (!existsSync(path)) throw new Error(`${path}: there is no such record. Give the record.json of a run, or start one without --resume.`);
  const record = JSON.parse(readFileSync(path, 'utf8')) as RunRecord;
  if (record.format !== RECORD_FORMAT) throw new Error(`${path}: expected a record with format '${RECORD_FORMAT}', got '${record.format}'. It is of another example or version.`);
  return record;
}
