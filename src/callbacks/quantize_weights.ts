/** Quantising weights with a mixture: which value each weight takes, how far it moves, how many bits its index needs. Pure. */
import type { Mixture } from '../kernels/mixture_energy/mixture.js';
import { assignComponents, mergeComponents, snapNearestToZero, toComponents, type Component, type Merge, type MergeOptions } from './merge_components.js';

export interface QuantizationOptions extends MergeOptions {
  /** Components with π below this are dropped before merging; the zero component never is. */
  deadMixing: number;
  /** Whether a weight's most probable component is judged with its proportion: argmax π_j N(w | j), or argmax N(w | j). */
  useMixing: boolean;
  /** The value of a component: its mean, or the mean of the weights assigned to it (the zero component stays 0). */
  values: 'means' | 'centroids';
}

export interface MergedMixture {
  /** By increasing mean, the one nearest zero exactly 0. */
  components: Component[];
  merges: Merge[];
  /** Original indices of the dropped components. */
  dropped: number[];
}

/** Drops dead components, merges the rest and snaps one to zero. */
export function mergeMixture(mixture: Mixture, options: QuantizationOptions): MergedMixture {
  const all = toComponents(mixture);
  const alive = all.filter(({ zero, mixing }) => zero || mixing >= options.deadMixing);
  const { components, merges } = mergeComponents(alive, options);
  const dropped = all.filter((component) => !alive.includes(component)).flatMap(({ members }) => members);
  return { components: snapNearestToZero(components), merges, dropped };
}

export interface QuantizedWeights {
  /** Float32 value per component that some weight takes, by increasing value. */
  codebook: Float32Array;
  /** Weights per codebook entry. */
  counts: number[];
  /** The quantised weights, one array per input array. */
  weights: Float32Array[];
  /** The component of each weight, one array per input array. */
  assignments: Uint16Array[];
  /** ‖w − q‖ / ‖w‖ per array (0 for an array of zeros). */
  relativeDistances: number[];
  /** ‖w − q‖ / ‖w‖ over all arrays. */
  relativeDistance: number;
  /** Σ −log₂ of the frequencies of the assigned values: what an ideal order-0 code of the indices takes. */
  entropyBits: number;
}

/** Gives every weight the value of its most probable component. */
export function quantizeWeights(arrays: readonly ArrayLike<number>[], components: readonly Component[], options: QuantizationOptions): QuantizedWeights {
  const assignments = arrays.map((weights) => assignComponents(weights, components, options.useMixing));
  const counts = new Array<number>(components.length).fill(0);
  const sums = new Array<number>(components.length).fill(0);
  arrays.forEach((weights, a) => {
    for (let i = 0; i < weights.length; i++) {
      counts[assignments[a][i]]++;
      sums[assignments[a][i]] += weights[i];
    }
  });
  const values = components.map(({ mean }, j) => (options.values === 'centroids' && mean !== 0 && counts[j] > 0 ? sums[j] / counts[j] : mean)).map(Math.fround);

  let squaredDistance = 0;
  let squaredNorm = 0;
  const relativeDistances: number[] = [];
  const quantized = arrays.map((weights, a) => {
    const result = Float32Array.from(assignments[a], (j) => values[j]);
    let distance = 0;
    let norm = 0;
    for (let i = 0; i < weights.length; i++) {
      distance += (weights[i] - result[i]) ** 2;
      norm += weights[i] ** 2;
    }
    relativeDistances.push(norm > 0 ? Math.sqrt(distance / norm) : 0);
    squaredDistance += distance;
    squaredNorm += norm;
    return result;
  });

  const total = counts.reduce((sum, count) => sum + count, 0);
  const used = counts.map((count, j) => ({ count, value: values[j] })).filter(({ count }) => count > 0);
  return {
    codebook: Float32Array.from(used, ({ value }) => value),
    counts: used.map(({ count }) => count),
    weights: quantized,
    assignments,
    relativeDistances,
    relativeDistance: squaredNorm > 0 ? Math.sqrt(squaredDistance / squaredNorm) : 0,
    entropyBits: used.reduce((bits, { count }) => bits - count * Math.log2(count / total), 0),
  };
}
