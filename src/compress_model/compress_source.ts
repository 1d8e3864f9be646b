/**
 * Compression without data, one tensor after the other: read and turned into candidates; chosen among under the target; read again and
 * packed; coded. Holds the largest tensor a few times, a byte a weight of the result, and what is passed through. No backend.
 */
import type { io } from '@tensorflow/tfjs-core';
import { encodeTensors } from '../compression/container.js';
import { allocate, bestAt } from './allocate.js';
import { keptCandidate, roundedCandidate, tensorCandidates, vectorCandidates } from './candidates.js';
import { damped } from './importance.js';
import { checkSkipped, WHO, type ResolvedOptions } from './options.js';
import { floatBytes, plainSpec, SNAPPING_SHARE, stockTensor, tensorBytes, type PackedTensor } from './packed_tensor.js';
import { deviation, parametersOf, relative, type CompressedWeight, type CompressionReport } from './report.js';
import { tensorValues } from './tensor_values.js';
import type { Candidate } from './value_cost.js';
import { isMatrix } from './weight_kind.js';
import { checkSpecs, type Spec, type WeightSource } from './weight_source.js';

export interface CompressedSource {
  /** Everything but the weights. */
  artifacts: io.ModelArtifacts;
  packed: PackedTensor[];
  /** The `.tfws` file; null for `stock`. */
  file: Uint8Array | null;
  report: CompressionReport;
}

/** What errors of weights do to the outputs of the model, which runs. */
export interface OutputSensitivity {
  /** Mean squared change of the outputs, relative to their mean square, when the weight of that name is replaced. */
  change(name: string, values: Float32Array): Promise<number>;
  /** What a small error of each single weight counts, for the matrices by name. */
  importances(): Promise<Map<string, Float32Array>>;
}

interface Planned {
  spec: Spec;
  candidates: Candidate[];
  sensitivity: number;
  /** Why there is but one candidate. */
  reason?: string;
  norm: number;
}

/** A weight as it stands in the result. */
interface PackedWeight {
  choice: number;
  packed: PackedTensor;
  weight: CompressedWeight;
  error: number;
  norm: number;
}

/** Of a weight, of the candidate by which sensitivity is measured: it moves the outputs by more than rounding does, and is in the range of what gets chosen. */
const PROBE_BYTES = 0.32;
/** Attempts at a ratio: estimates of bytes are corrected by what coding gave. */
const ATTEMPTS = 4;
/** A result larger than asked for by less is taken where there is none within. */
const TOLERANCE = 1.02;
/** Smaller than asked for by less needs no further attempt, which would take as long as the first. */
const CLOSE = 0.97;

export async function compressSource(source: WeightSource, options: ResolvedOptions, outputs: OutputSensitivity | null = null): Promise<CompressedSource> {
  const specs = source.artifacts.weightSpecs ?? [];
  checkSpecs(specs);
  checkSkipped(options, specs);
  const warnings: string[] = [];
  const planned: Planned[] = [];
  const measured = outputs === null ? null : { change: outputs.change.bind(outputs), of: await importancesOf(outputs, options, warnings) };
  const total = Math.max(1, specs.reduce((sum, spec) => sum + parametersOf(spec), 0)); // prettier-ignore
  let done = 0;
  for (const [i, spec] of specs.entries()) {
    options.onProgress((0.4 * done) / total, `plans ${spec.name}`);
    planned.push(await plan(source, i, options, measured, warnings));
    done += parametersOf(spec);
  }
  const raw = 4 * specs.reduce((sum, spec) => sum + parametersOf(spec), 0);
  const packing = new Packing(source, planned, options, warnings);
  let result: CompressedSource;
  if (options.ratio === null) result = await packing.result(planned.map(({ candidates }) => withinError(candidates, options)), measured !== null);
  else {
    if (measured !== null) await measureAgain(source, planned, raw / options.ratio - (await packing.overhead()), measured);
    result = await reachRatio(packing, planned, raw / options.ratio, options, measured !== null);
  }
  options.onProgress(1, 'done');
  return result;
}

interface Measured {
  change: OutputSensitivity['change'];
  of: Map<string, Float32Array> | null;
}

/** Only entropy-constrained quantisers can use what a single weight counts. */
async function importancesOf(outputs: OutputSensitivity, { method }: ResolvedOptions, warnings: string[]): Promise<Map<string, Float32Array> | null> {
  if (method !== 'entropyConstrained') return null;
  try {
    return await outputs.importances();
  } catch (error) {
    warnings.push(`what single weights count could not be measured, so all weights of a tensor count the same: ${(error as Error).message}${cureFor(error as Error)}`);
    return null;
  }
}

/** What to do where a backend lacks a kernel. */
export const cureFor = ({ message }: Error): string => (/not registered for (the )?backend/.test(message) ? ' Call registerMissingKernels() of this package first, or use another backend.' : '');

async function plan(source: WeightSource, index: number, options: ResolvedOptions, measured: Measured | null, warnings: string[]): Promise<Planned> {
  const spec = source.artifacts.weightSpecs![index];
  const bytes = await source.read(index);
  const found = tensorValues(spec, bytes);
  if ('kept' in found) {
    if (spec.dtype === 'float32' && bytes.length > 0) warnings.push(`'${spec.name}' is kept: ${found.kept}.`);
    return { spec, candidates: [{ ...keptCandidate(new Float32Array(0)), bytes: bytes.length }], sensitivity: 0, reason: found.kept, norm: 0 };
  }
  const { values } = found;
  if (spec.quantization !== undefined) warnings.push(`'${spec.name}' was stored as ${spec.quantization.dtype}: errors are relative to those values.`);
  const norm = values.reduce((sum, w) => sum + w * w, 0);
  const only = (candidates: Candidate[], reason?: string): Planned => ({ spec, candidates, sensitivity: 0, reason, norm });
  const without = options.without(spec.name);
  if (without !== null && without !== 'rounded') return only([keptCandidate(values)], without.kept);
  if (spec.shape.length === 0) return only([keptCandidate(values)], 'a single number');
  if (!isMatrix(spec)) {
    if (options.vectors === 'keep') return only([keptCandidate(values)], 'vectors are kept as asked');
    const rounded = roundedCandidate(values);
    if (!withinBound(rounded, norm, options)) return only([keptCandidate(values)], 'rounding would exceed maxError');
    const all = vectorCandidates(values).filter((candidate) => withinBound(candidate, norm, options));
    // What rounds to itself has nothing to choose.
    if (measured === null || options.ratio === null || all[0].error === 0) return only([rounded]);
    return { spec, candidates: all, sensitivity: (await measured.change(spec.name, valuesOf(all[0].apply(values)))) / all[0].weighted, norm };
  }
  if (without === 'rounded') return only([roundedCandidate(values)]);
  const curvature = measured?.of?.get(spec.name);
  const importance = curvature === undefined ? null : damped(curvature);
  const candidates = tensorCandidates(values, spec.shape.length > 1 ? spec.shape[spec.shape.length - 1] : 1, options, importance).filter((candidate) => withinBound(candidate, norm, options));
  let sensitivity = norm > 0 ? 1 / norm : 0;
  if (measured !== null && candidates.length > 1) {
    const coarse = candidates.filter(({ weighted }) => weighted > 0);
    const probe = coarse.find(({ bytes }) => bytes >= PROBE_BYTES * values.length) ?? coarse.at(-1);
    if (probe !== undefined) sensitivity = (await measured.change(spec.name, valuesOf(probe.apply(values)))) / probe.weighted;
  }
  return { spec, candidates: candidates.length > 0 ? candidates : [keptCandidate(values)], sensitivity, norm };
}

/** What an error does to outputs is not quite in proportion to it: measured a second time where the choice lands, each sensitivity is the geometric mean of the two. */
async function measureAgain(source: WeightSource, planned: readonly Planned[], bytes: number, { change }: Measured): Promise<void> {
  const choice = allocate(planned, bytes);
  if (choice === null) return;
  for (const [i, weight] of planned.entries()) {
    const { spec, candidates, sensitivity } = weight;
    const candidate = candidates[choice[i]];
    if (candidates.length < 2 || candidate.weighted === 0) continue;
    const found = tensorValues(spec, await source.read(i));
    if ('kept' in found) continue;
    const now = (await change(spec.name, valuesOf(candidate.apply(found.values)))) / candidate.weighted;
    if (now > 0 && sensitivity > 0) weight.sensitivity = Math.sqrt(sensitivity * now);
  }
}

/** What stock artefacts add to the error of a codebook when its values go onto a grid is in. */
function withinBound({ error, size }: Candidate, norm: number, { maxError, format }: ResolvedOptions): boolean {
  const most = format === 'stock' && size > 0 ? (1 + SNAPPING_SHARE) * error : error;
  return maxError === null || most <= maxError * maxError * norm;
}

/** The only candidate of `bits`; the smallest within `maxError`. */
const withinError = (candidates: readonly Candidate[], { bits }: ResolvedOptions): number =>
  bits !== null ? 0 : bestAt(candidates, 0, 1);

async function reachRatio(packing: Packing, planned: readonly Planned[], target: number, options: ResolvedOptions, measured: boolean): Promise<CompressedSource> {
  const overhead = await packing.overhead();
  const estimate = (choice: readonly number[]): number => choice.reduce((sum, c, t) => sum + planned[t].candidates[c].bytes, 0);
  let correction = 1;
  let best: CompressedSource | null = null;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const choice = allocate(planned, (target - overhead) / correction);
    if (choice === null) break;
    const result = await packing.result(choice, measured);
    const bytes = sizeOf(result);
    if (bytes <= target * TOLERANCE && (best === null || nearer(bytes, sizeOf(best), target))) best = result;
    if (bytes <= target && bytes >= CLOSE * target) break;
    const expected = estimate(choice);
    if (expected === 0) break;
    correction = Math.max(0.05, (bytes - overhead) / expected);
  }
  if (best !== null) return best;
  const smallest = planned.map(({ candidates }) => candidates.reduce((least, { bytes }, c) => (bytes < candidates[least].bytes ? c : least), 0));
  const result = await packing.result(smallest, measured);
  const bytes = sizeOf(result);
  if (bytes <= target * TOLERANCE) return result;
  throw new Error(
    `${WHO}: ratio ${options.ratio} cannot be reached: the best is ${(result.report.float32Bytes / bytes).toFixed(2)} (${bytes} bytes)` +
      `${options.maxError === null ? '' : ` within maxError ${options.maxError}`}. Ask for less, ` +
      `${options.maxError === null ? 'skip fewer weights, ' : 'allow a larger maxError, '}or retrain with data (soft weight sharing), which goes further.`,
  );
}

const sizeOf = ({ report }: CompressedSource): number => report.gzipBytes ?? report.bytes;

/** Whether `bytes` are a better answer than `others`: as many as `target` allows, or the fewest above it. */
const nearer = (bytes: number, others: number, target: number): boolean => (bytes <= target ? others > target || bytes > others : bytes < others);

/** The second pass; tensors whose choice has not changed since the last attempt are not packed again. */
class Packing {
  #last: (PackedWeight | undefined)[] = [];

  constructor(
    private readonly source: WeightSource,
    private readonly planned: readonly Planned[],
    private readonly options: ResolvedOptions,
    private readonly warnings: string[],
  ) {}

  /** Bytes of a result without weights. */
  async overhead(): Promise<number> {
    const artifacts = { ...this.source.artifacts, weightSpecs: this.planned.map(({ spec }) => spec) };
    if (this.options.format === 'stock') return (await gzipSize([new TextEncoder().encode(JSON.stringify(artifacts))])) ?? 0;
    const empty = artifacts.weightSpecs.map((spec) => ({ ...spec, shape: [0, ...spec.shape] }));
    return encodeTensors({ ...artifacts, weightSpecs: empty }, () => new Uint8Array(0)).bytes.length;
  }

  async result(choice: readonly number[], measured: boolean): Promise<CompressedSource> {
    const { source, planned, options, warnings } = this;
    const total = Math.max(1, planned.reduce((sum, { spec }) => sum + parametersOf(spec), 0)); // prettier-ignore
    let done = 0;
    for (const [i, { spec }] of planned.entries()) {
      options.onProgress(0.4 + (0.2 * done) / total, `packs ${spec.name}`);
      if (this.#last[i]?.choice !== choice[i]) this.#last[i] = await this.#pack(i, choice[i], measured);
      done += parametersOf(spec);
    }
    const all = this.#last as PackedWeight[];
    const packed = all.map(({ packed }) => packed);
    const artifacts = { ...source.artifacts, weightSpecs: packed.map(({ spec }) => spec) };
    options.onProgress(0.6, 'codes');
    const file = options.format === 'stock' ? null : encodeTensors(artifacts, (i) => tensorBytes(packed[i]), { onTensor: (i) => options.onProgress(0.6 + (0.4 * i) / packed.length, `codes ${packed[i].spec.name}`) }).bytes;
    const topology = new TextEncoder().encode(JSON.stringify(artifacts));
    const bytes = file?.length ?? topology.length + packed.reduce((sum, tensor) => sum + tensorBytes(tensor).length, 0);
    const gzipBytes = file === null ? await gzipSize([topology, ...packed.map(tensorBytes)]) : null;
    const changed = all.filter(({ norm }) => norm > 0);
    const parameters = planned.reduce((sum, { spec }) => sum + parametersOf(spec), 0);
    const report: CompressionReport = {
      weights: all.map(({ weight }) => weight),
      parameters,
      float32Bytes: 4 * parameters,
      bytes,
      gzipBytes,
      ratio: (4 * parameters) / (gzipBytes ?? bytes),
      relativeError: relative(changed.reduce((sum, { error }) => sum + error, 0), changed.reduce((sum, { norm }) => sum + norm, 0)),
      maxDeviation: all.reduce((most, { weight }) => Math.max(most, weight.maxDeviation), 0),
      sensitivity: measured ? 'outputs' : 'weights',
      method: options.method,
      format: options.format,
      warnings: [...warnings],
    }; // prettier-ignore
    return { artifacts, packed, file, report };
  }

  async #pack(index: number, choice: number, measured: boolean): Promise<PackedWeight> {
    const { spec, candidates, reason, sensitivity } = this.planned[index];
    const bytes = await this.source.read(index);
    const candidate = candidates[choice];
    const found = tensorValues(spec, bytes);
    const weight: CompressedWeight = {
      name: spec.name, shape: spec.shape, dtype: spec.dtype, parameters: parametersOf(spec), treatment: 'kept', values: candidate.size,
      bytesBefore: bytes.length, bytesEstimate: candidate.bytes, relativeError: 0, maxDeviation: 0, sensitivity: measured && candidates.length > 1 ? sensitivity : null,
    }; // prettier-ignore
    const kept = candidate.error === 0 && candidate.size === 0 && candidate.rounded !== true;
    if ('kept' in found || kept) {
      const why = reason ?? ('kept' in found ? found.kept : this.options.maxError !== null ? 'nothing smaller is within maxError' : 'nothing is smaller');
      return { choice, packed: { spec, bytes: bytes.slice() }, weight: { ...weight, reason: why }, error: 0, norm: 0 };
    }
    const { values } = found;
    const quantized = candidate.apply(values);
    let packed: PackedTensor = 'codebook' in quantized ? { spec: plainSpec(spec), ...quantized } : { spec: plainSpec(spec), bytes: floatBytes(quantized.values) };
    if (this.options.format === 'stock') packed = stockTensor(packed, candidate.error, candidate.rounded === true);
    const after = valuesAfter(packed);
    const { error, norm, maxDeviation } = deviation(values, after);
    return {
      choice, packed, error, norm,
      weight: { ...weight, treatment: candidate.rounded ? 'rounded' : 'codebook', relativeError: relative(error, norm), maxDeviation },
    }; // prettier-ignore
  }
}

function valuesOf(quantized: ReturnType<Candidate['apply']>): Float32Array {
  return 'values' in quantized ? quantized.values : Float32Array.from(quantized.indices, (j) => quantized.codebook[j]);
}

function valuesAfter(packed: PackedTensor): Float32Array {
  const found = tensorValues(packed.spec, tensorBytes(packed));
  if ('kept' in found) throw new Error(`${WHO}: '${packed.spec.name}' became unreadable: ${found.kept}.`);
  return found.values;
}

/** Bytes after gzip, one stream each; null where the platform has no CompressionStream. */
async function gzipSize(parts: readonly Uint8Array[]): Promise<number | null> {
  if (typeof CompressionStream === 'undefined') return null;
  let size = 0;
  const stream = new Blob([...parts] as BlobPart[]).stream().pipeThrough(new CompressionStream('gzip'));
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return size;
    size += value.length;
  }
}
