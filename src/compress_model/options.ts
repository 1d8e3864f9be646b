/** What `compressModel` can be told, checked and with defaults. */
import { checkBoolean, checkChoice, checkKeys, checkNames, checkNumber, describe, OPEN_UNIT } from '../checks.js';
import { INITIALIZATIONS, type CentroidInitialization } from '../clustering/lloyd.js';

export interface CompressionOptions {
  /**
   * The same for every weight tensor: `kMeans` gets 2^bits values (rounded down), `mixture` as many components, of which merging leaves fewer (bits ≤ 5; a tensor with
   * no more than twice as many values keeps them all),
   * `entropyConstrained` as many values as take that many bits a weight in an ideal code. In [1, 8]. Default 4, unless `ratio` or `maxError` is given.
   */
  bits?: number;
  /**
   * Bytes of all weights as float32 over the bytes of the result, > 1: what is spent on each tensor follows from its sensitivity. `tfws` counts
   * the file, `stock` topology and weights after gzip. The result is at most 2 % larger than asked for, as a rule smaller.
   */
  ratio?: number;
  /** Largest relative error ‖w − q‖ / ‖w‖ of any tensor, in (0, 1); alone it makes each tensor as small as that allows. */
  maxError?: number;
  /**
   * How values are found: `kMeans`, exact in one dimension; `entropyConstrained`, which counts what a coded number takes; or `mixture`, a Gaussian
   * mixture fitted by expectation maximisation, its components merged by Kullback–Leibler divergence. Default `kMeans` with `bits`, else `entropyConstrained`.
   */
  method?: 'kMeans' | 'entropyConstrained' | 'mixture';
  /** Start of k-means: `optimal` (exact, nothing is better), or Lloyd's iteration from one of the others, for comparison. Default `optimal`. */
  initialization?: 'optimal' | CentroidInitialization;
  /**
   * k-means for each entry of the last axis (output channels, units) instead of each tensor. More exact; but a file has one codebook a tensor, so
   * that it takes more bytes, often many more. Default false.
   */
  perChannel?: boolean;
  /** Zeros stay zeros in tensors in which at least a twentieth is. Default true. */
  preserveSparsity?: boolean;
  /** Weights that are neither quantised nor rounded: names, or patterns with `*`, of weights or of what their names begin with (layers). Retraining trains them, too. Default none. */
  skip?: string[];
  /**
   * Vectors (biases, scales, statistics): `round` to 11 significant bits (relative error ≤ 2⁻¹¹; to 8 or 6 where a `ratio` is wanted and little is lost on
   * given inputs) and merge the statistics of batch normalisation into its scale and offset; or `keep`. Default `round`.
   */
  vectors?: 'round' | 'keep';
  /**
   * `tfws`: our file, the smallest; or `stock`: artefacts that any tfjs loads (affine uint8 or uint16, float16) and gzip or brotli make small.
   * Default `tfws`.
   */
  format?: 'tfws' | 'stock';
  /** Called before each tensor is read, planned, packed and coded: a part of the work in [0, 1] and what is being done. */
  onProgress?: (done: number, what: string) => void;
}

export const WHO = 'compressModel';
export const SKIPPED = 'skipped as asked';

const OPTIONS = ['bits', 'ratio', 'maxError', 'method', 'initialization', 'perChannel', 'preserveSparsity', 'skip', 'vectors', 'format', 'onProgress'] as const; // prettier-ignore

/** Options with defaults. */
export interface ResolvedOptions {
  bits: number | null;
  ratio: number | null;
  maxError: number | null;
  method: 'kMeans' | 'entropyConstrained' | 'mixture';
  initialization: 'optimal' | CentroidInitialization;
  perChannel: boolean;
  preserveSparsity: boolean;
  skip: (name: string) => boolean;
  /** A matrix that gets no codebook: it is only rounded, or kept for that reason. Null: it gets one. */
  without: (name: string) => 'rounded' | { kept: string } | null;
  skipped: readonly string[];
  vectors: 'round' | 'keep';
  format: 'tfws' | 'stock';
  onProgress: (done: number, what: string) => void;
}

/** @throws Error that names the option, what was expected and what came. */
export function resolveOptions(args: CompressionOptions, others: readonly string[] = []): ResolvedOptions {
  checkKeys(WHO, args, [...OPTIONS, ...others]);
  const { ratio, maxError, bits, onProgress = () => undefined } = args;
  if (ratio !== undefined) checkNumber(WHO, 'ratio', ratio, { expected: 'a finite number > 1', holds: (x) => x > 1 }, 'Float32 weights are ratio 1.');
  if (maxError !== undefined) checkNumber(WHO, 'maxError', maxError, OPEN_UNIT);
  if (bits !== undefined) checkNumber(WHO, 'bits', bits, { expected: 'a number from 1 to 8', holds: (x) => x >= 1 && x <= 8 }, 'Give maxError for finer values.');
  if (bits !== undefined && (ratio !== undefined || maxError !== undefined)) {
    throw new Error(`${WHO}: bits cannot be given together with ${ratio !== undefined ? 'ratio' : 'maxError'}, which decides on the bits of each tensor. Leave one out.`);
  }
  const targeted = ratio !== undefined || maxError !== undefined;
  const perChannel = checkBoolean(WHO, 'perChannel', args.perChannel ?? false);
  const initialization = checkChoice(WHO, 'initialization', args.initialization ?? 'optimal', ['optimal', ...INITIALIZATIONS]);
  const onlyKMeans = perChannel || initialization !== 'optimal';
  const method = checkChoice(WHO, 'method', args.method ?? (targeted && !onlyKMeans ? 'entropyConstrained' : 'kMeans'), ['kMeans', 'entropyConstrained', 'mixture']);
  if (onlyKMeans && method !== 'kMeans') {
    throw new Error(`${WHO}: ${perChannel ? 'perChannel' : 'initialization'} belongs to method 'kMeans', got method '${method}'. Leave one out.`);
  }
  if (method === 'mixture' && (bits ?? 0) > 5) throw new Error(`${WHO}: method 'mixture' fits at most 32 components, so that bits must be at most 5, got ${bits}. Use method 'kMeans' for more values.`);
  if (typeof onProgress !== 'function') throw new Error(`${WHO}: onProgress must be a function, got ${describe(onProgress)}.`);
  const skip = nameFilter(checkNames(WHO, 'skip', args.skip ?? []));
  return {
    bits: targeted ? null : (bits ?? 4),
    ratio: ratio ?? null,
    maxError: maxError ?? null,
    method, initialization, perChannel,
    preserveSparsity: checkBoolean(WHO, 'preserveSparsity', args.preserveSparsity ?? true),
    skip,
    without: (name) => (skip(name) ? { kept: SKIPPED } : null),
    skipped: args.skip ?? [],
    vectors: checkChoice(WHO, 'vectors', args.vectors ?? 'round', ['round', 'keep']),
    format: checkChoice(WHO, 'format', args.format ?? 'tfws', ['tfws', 'stock']),
    onProgress,
  }; // prettier-ignore
}

/** @throws Error if `skip` has a pattern that no weight goes by. */
export function checkSkipped({ skipped }: ResolvedOptions, specs: readonly { name: string }[]): void {
  const idle = skipped.find((pattern) => !specs.some(({ name }) => nameFilter([pattern])(name)));
  if (idle === undefined) return;
  const names = specs.map(({ name }) => name);
  throw new Error(`${WHO}: skip: no weight or layer is named ${describe(idle)}. Weights: ${names.slice(0, 12).join(', ')}${names.length > 12 ? ', …' : ''}.`);
}

/** Whether a weight's name, or what it begins with up to a '/', is among the patterns. */
export function nameFilter(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map((pattern) => new RegExp(`^${pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*')}(/.*)?$`));
  return (name) => expressions.some((expression) => expression.test(name));
}
