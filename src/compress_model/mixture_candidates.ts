/** Quantisation by a fitted Gaussian mixture: expectation maximisation, components merged by KL divergence, weights to the most probable one. */
import { assignComponents, type Component } from '../callbacks/merge_components.js';
import { mergeMixture } from '../callbacks/quantize_weights.js';
import { withCentroids } from '../clustering/scalar_quantizer.js';
import { fitMixture } from '../regularizers/expectation_maximization.js';
import { type Candidate, valueCost } from './value_cost.js';

/** The mixture is fitted to at most so many weights, evenly spaced in the sorted ones. */
const SAMPLE = 16384;
/** More components than this are not fitted: each takes as long as all before it, and merging takes most of them away. */
const MOST_COMPONENTS = 32;
const ITERATIONS = 50;
/** As klMergeQuantization's defaults. */
const MERGING = { threshold: 0.5, variance: 'average', mergeZero: false, deadMixing: 1e-6, useMixing: true, values: 'centroids' } as const;

/** A candidate for each number of components in `sizes`; merging leaves fewer values. */
export function mixtureQuantizers(values: Float32Array, sizes: readonly number[], zero: boolean): Candidate[] {
  const sample = sampleOf(values);
  const fitted = sizes.filter((k) => k <= MOST_COMPONENTS || k === sizes[0]).map((k) => Math.min(MOST_COMPONENTS, k));
  return fitted.map((components) => {
    const { mixture } = fitMixture([sample], { components, zeroMixing: 0.5, iterations: ITERATIONS });
    const merged = mergeMixture({ means: Float64Array.from(mixture.means), variances: Float64Array.from(mixture.variances), mixing: Float64Array.from(mixture.mixing) }, MERGING);
    const apply = (weights: Float32Array): { codebook: Float32Array; indices: Uint8Array } => assign(weights, merged.components, zero);
    const { codebook, indices } = apply(values);
    return { ...valueCost(values, Float32Array.from(indices, (j) => codebook[j])), apply };
  });
}

function assign(weights: Float32Array, components: readonly Component[], zero: boolean): { codebook: Float32Array; indices: Uint8Array } {
  const chosen = Uint8Array.from(assignComponents(weights, components));
  const pinned = components.findIndex(({ mean }) => mean === 0);
  if (zero) weights.forEach((w, i) => w === 0 && (chosen[i] = pinned));
  const { values, indices } = withCentroids(weights, chosen, Float32Array.from(components, ({ mean }) => mean), true);
  return { codebook: values, indices };
}

function sampleOf(values: Float32Array): Float32Array {
  if (values.length <= SAMPLE) return values;
  const sorted = values.slice().sort();
  return Float32Array.from({ length: SAMPLE }, (_, i) => sorted[Math.floor(((i + 0.5) / SAMPLE) * sorted.length)]);
}
