/**
 * Batch normalisation after training is an affine map of each channel, γ (x − μ) / √(σ² + ε) + β: four numbers where two do. Here μ becomes 0 and σ²
 * becomes 1, which take no bytes in a file, and γ and β what makes the map the same.
 */
import type { ResolvedOptions } from './options.js';
import { floatBytes } from './packed_tensor.js';
import { tensorValues } from './tensor_values.js';
import type { WeightSource } from './weight_source.js';

const PARTS = ['gamma', 'beta', 'moving_mean', 'moving_variance'] as const;

interface Normalization {
  name: string;
  epsilon: number;
}

/** Those whose name tells which they are: inside of another layer one may be called as one outside is. */
function normalizations(topology: unknown): Normalization[] {
  const all = allNormalizations(topology);
  return all.filter(({ name, epsilon }) => all.every((other) => other.name !== name || other.epsilon === epsilon));
}

/** Layers of class BatchNormalization anywhere in a topology. */
function allNormalizations(topology: unknown): Normalization[] {
  if (Array.isArray(topology)) return topology.flatMap(allNormalizations);
  if (typeof topology !== 'object' || topology === null) return [];
  const { class_name, config } = topology as { class_name?: unknown; config?: { name?: unknown; epsilon?: unknown } };
  if (class_name === 'BatchNormalization' && typeof config?.name === 'string') return [{ name: config.name, epsilon: typeof config.epsilon === 'number' ? config.epsilon : 1e-3 }];
  return Object.values(topology).flatMap(allNormalizations);
}

/**
 * γ √((1 + ε) / (σ² + ε)), β − μ γ / √(σ² + ε), 0 and 1, in the order of {@link PARTS}; null where that is not finite.
 */
export function mergedParts([gamma, beta, mean, variance]: readonly Float32Array[], epsilon: number): Float32Array[] | null {
  const scale = gamma.map((g, c) => g * Math.sqrt((1 + epsilon) / (variance[c] + epsilon)));
  const offset = beta.map((b, c) => b - (mean[c] * gamma[c]) / Math.sqrt(variance[c] + epsilon));
  if (![...scale, ...offset].every(Number.isFinite)) return null;
  return [scale, offset, new Float32Array(mean.length), new Float32Array(mean.length).fill(1)];
}

/**
 * The same model with the statistics of its batch normalisations merged, where a layer has both scale and offset and none of its weights is to be
 * left alone. For models that are not trained any further: training normalises by the statistics of the batch, not by these.
 */
export async function mergeStatistics({ artifacts, read }: WeightSource, leave: (name: string) => boolean): Promise<WeightSource> {
  const specs = artifacts.weightSpecs ?? [];
  const merged = new Map<number, Uint8Array>();
  for (const { name, epsilon } of normalizations(artifacts.modelTopology)) {
    const indices = PARTS.map((part) => specs.findIndex((spec) => spec.name === `${name}/${part}`));
    if (indices.some((i) => i < 0 || specs[i].quantization !== undefined || leave(specs[i].name))) continue;
    const parts = await Promise.all(indices.map(async (i) => tensorValues(specs[i], await read(i))));
    const values = parts.flatMap((part) => ('values' in part ? [part.values] : []));
    if (values.length < PARTS.length || values.some(({ length }) => length !== values[0].length)) continue;
    mergedParts(values, epsilon)?.forEach((part, p) => merged.set(indices[p], floatBytes(part)));
  }
  return { artifacts, read: (index) => (merged.has(index) ? Promise.resolve(merged.get(index)!) : read(index)) };
}

/** {@link mergeStatistics} of what `skip` does not name, unless vectors are to be kept as they are. */
export const mergeIfRounded = async (source: WeightSource, { vectors, skip }: ResolvedOptions): Promise<WeightSource> => (vectors === 'round' ? mergeStatistics(source, skip) : source);
