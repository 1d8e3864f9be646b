/**
 * Reparametrised kernels, which keep an equilibrium layer's map contractive: weight normalisation (Salimans & Kingma, NeurIPS 2016) and spectral
 * normalisation (Miyato et al., ICLR 2018; as a bound: Gouk et al., Machine Learning 110, 2021).
 */
import * as tfc from '@tensorflow/tfjs-core';
import { serialization, type Tensor, type Tensor2D } from '@tensorflow/tfjs-core';
import { withoutTape } from '../autodiff/tape.js';
import { checkKeys, checkNumber, integerAtLeast, POSITIVE } from '../checks.js';

/** A weight that a normalisation needs beside the kernel. */
export interface NormalizationWeight {
  name: string;
  /** Its value at the start; the caller's. */
  initial: Tensor;
  trainable: boolean;
}

/** What stands for a kernel in the layer that it belongs to. */
export interface KernelNormalization extends serialization.Serializable {
  /** The weights that it needs for a kernel of rank ≥ 2, at first of this value. */
  weightsFor(kernel: Tensor): NormalizationWeight[];
  /** The kernel that the layer uses, as a differentiable function of the stored kernel and of the weights. */
  normalize(kernel: Tensor, weights: readonly tfc.Variable[], training: boolean): Tensor;
}

/** Below the square of any length that counts; at 0 the root has no slope. */
const TINY = 1e-24;
/** ‖v‖ of each output unit (last axis): [1, …, units]. */
const unitNorms = (kernel: Tensor): Tensor => tfc.sqrt(tfc.add(tfc.sum(tfc.square(kernel), kernel.shape.slice(1).map((_, axis) => axis), true), TINY)); // prettier-ignore

/**
 * W = g · v / ‖v‖ for each output unit: the stored kernel v gives the direction only, its length g is a weight of its own, at first ‖v‖, so
 * that nothing changes until training does. Costs one weight per unit and a pass over the kernels per step.
 */
export class WeightNormalization extends serialization.Serializable implements KernelNormalization {
  /** @nocollapse */
  static readonly className = 'WeightNormalization';

  constructor(args: object = {}) {
    super();
    checkKeys('weightNormalization', args, []);
  }

  weightsFor(kernel: Tensor): NormalizationWeight[] {
    return [{ name: 'gain', initial: tfc.tidy(() => unitNorms(kernel)), trainable: true }];
  }

  normalize(kernel: Tensor, [gain]: readonly tfc.Variable[]): Tensor {
    return tfc.mul(kernel, tfc.div(gain, unitNorms(kernel)));
  }

  getConfig(): serialization.ConfigDict {
    return {};
  }
}

export interface SpectralNormalizationArgs {
  /** Largest singular value that a kernel may have, as a matrix [everything else, units]. Number > 0. Default 0.95. */
  bound?: number;
  /** Steps of the power method per training step. Integer ≥ 1. Default 1. */
  iterations?: number;
}

/** Steps of the power method at the start, from a random vector. */
const FIRST_ITERATIONS = 30;

/**
 * W = v · min(1, bound / σ(v)), σ the largest singular value, by the power method: one step for each training step, from the vector of the step
 * before, which is saved with the model. With activations of slope ≤ 1 and one kernel between states, bound < 1 makes a contraction, whatever
 * the weights. A convolution's kernel is taken as a matrix, as in Miyato et al.: the map's own norm may be larger, by up to √(height · width).
 */
export class SpectralNormalization extends serialization.Serializable implements KernelNormalization {
  /** @nocollapse */
  static readonly className = 'SpectralNormalization';
  readonly bound: number;
  readonly iterations: number;

  constructor(args: SpectralNormalizationArgs = {}) {
    super();
    const who = 'spectralNormalization';
    checkKeys(who, args, ['bound', 'iterations']);
    this.bound = checkNumber(who, 'bound', args.bound ?? 0.95, POSITIVE);
    this.iterations = checkNumber(who, 'iterations', args.iterations ?? 1, integerAtLeast(1));
  }

  weightsFor(kernel: Tensor): NormalizationWeight[] {
    const initial = tfc.tidy(() => {
      const start = tfc.randomNormal([kernel.shape[kernel.rank - 1], 1], 0, 1, 'float32', 1) as Tensor2D;
      return powerSteps(asMatrix(kernel), start, FIRST_ITERATIONS);
    });
    return [{ name: 'singular_vector', initial, trainable: false }];
  }

  normalize(kernel: Tensor, [stored]: readonly tfc.Variable[], training: boolean): Tensor {
    const [left, right] = withoutTape(() => {
      const matrix = asMatrix(kernel);
      const vector = training ? powerSteps(matrix, stored as Tensor as Tensor2D, this.iterations) : (tfc.clone(stored) as Tensor2D);
      if (training) stored.assign(vector as Tensor as tfc.Variable);
      return [unit(tfc.matMul(matrix, vector)), vector];
    });
    const sigma = tfc.sum(tfc.mul(left, tfc.matMul(asMatrix(kernel), right)));
    return tfc.mul(kernel, tfc.minimum(1, tfc.div(this.bound, tfc.maximum(sigma, 1e-12))));
  }

  getConfig(): serialization.ConfigDict {
    return { bound: this.bound, iterations: this.iterations };
  }
}

const asMatrix = (kernel: Tensor): Tensor2D => tfc.reshape(kernel, [-1, kernel.shape[kernel.rank - 1]]) as Tensor2D;
const unit = (vector: Tensor2D): Tensor2D => tfc.div(vector, tfc.maximum(tfc.norm(vector), 1e-12));

/** `count` times v ← Mᵀ M v / ‖·‖, for v [columns, 1]; where that is 0, as for a kernel of zeros, v stays. */
function powerSteps(matrix: Tensor2D, vector: Tensor2D, count: number): Tensor2D {
  let v = unit(vector);
  for (let i = 0; i < count; i++) {
    const next: Tensor2D = tfc.matMul(matrix, unit(tfc.matMul(matrix, v)), true);
    v = tfc.where(tfc.greater(tfc.norm(next), 1e-12), unit(next), v) as Tensor2D;
  }
  return v;
}

export const weightNormalization = (): WeightNormalization => new WeightNormalization();
export const spectralNormalization = (args?: SpectralNormalizationArgs): SpectralNormalization => new SpectralNormalization(args);

serialization.registerClass(WeightNormalization);
serialization.registerClass(SpectralNormalization);
