/**
 * Batch normalisation with statistics and affine parameters of their own for each recursion: as in LruNet (Köpüklü et al. 2019) and, over the
 * samples that entered the recursion only, in dynamic recursion (Guo et al., CVPR 2019). Statistics shared by all recursions break training:
 * the distribution of the state changes from one to the next.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { isRecording, withoutTape } from '../../autodiff/tape.js';
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, OPEN_UNIT, POSITIVE } from '../../checks.js';
import { variableOf, type LayerVariable } from '../../host.js';
import type { LoopContext, WeightOwner } from './loop_context.js';

export interface NormalizationOptions {
  /** `perRecursion`: statistics, γ and β for each recursion, 4 numbers a channel and recursion, half of them trained; `shared`: one set. */
  scope: 'perRecursion' | 'shared';
  /** Of the running statistics, in (0, 1). Default 0.99. */
  momentum?: number;
  /** > 0. Default 1e-3. */
  epsilon?: number;
  /** false: only γ and β, y = γ x + β, nothing is normalised: how layers without batch normalisation that are told apart by scale and bias become recursions. Default true. */
  statistics?: boolean;
}

export type NormalizationChoice = 'none' | 'perRecursion' | 'shared' | NormalizationOptions;

const SCOPES = ['perRecursion', 'shared'] as const;

export function checkNormalization(who: string, choice: NormalizationChoice): Required<NormalizationOptions> | null {
  if (choice === 'none') return null;
  const given = typeof choice === 'object' && choice !== null ? choice : { scope: checkChoice(who, 'normalization', choice, ['none', ...SCOPES]) as NormalizationOptions['scope'] };
  if (typeof given !== 'object') throw new Error(`${who}: normalization must be a scope or {scope, momentum, epsilon}, got ${describe(choice)}.`);
  checkKeys(`${who}: normalization`, given, ['scope', 'momentum', 'epsilon', 'statistics']);
  const statistics = checkBoolean(`${who}: normalization`, 'statistics', given.statistics ?? true);
  if (!statistics && (given.momentum ?? given.epsilon) !== undefined) throw new Error(`${who}: normalization: momentum and epsilon are for statistics, and there are none with statistics: false. Leave them out.`);
  return {
    statistics,
    scope: checkChoice(`${who}: normalization`, 'scope', given.scope, SCOPES),
    momentum: checkNumber(`${who}: normalization`, 'momentum', given.momentum ?? 0.99, OPEN_UNIT),
    epsilon: checkNumber(`${who}: normalization`, 'epsilon', given.epsilon ?? 1e-3, POSITIVE),
  };
}

export interface Moments {
  mean: Tensor1D;
  variance: Tensor1D;
  /** How many values they were taken over: [] */
  count: Tensor;
}

/** Mean and variance of each channel (last axis), over the samples where `entered` [batch] is 1; over all without it. */
export function maskedMoments(x: Tensor, entered: Tensor1D | null): Moments {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis);
  const perSample = x.size / x.shape[0] / x.shape[x.rank - 1];
  if (entered === null) {
    const { mean, variance } = tfc.moments(x, axes);
    return { mean: mean as Tensor1D, variance: variance as Tensor1D, count: tfc.scalar(x.shape[0] * perSample) };
  }
  const weights = tfc.reshape(entered, [-1, ...axes.map(() => 1)]);
  const count = tfc.mul(tfc.sum(entered), perSample);
  const least = tfc.maximum(count, 1);
  const mean = tfc.div(tfc.sum(tfc.mul(x, weights), axes), least) as Tensor1D;
  const variance = tfc.div(tfc.sum(tfc.mul(tfc.square(tfc.sub(x, mean)), weights), axes), least) as Tensor1D;
  return { mean, variance, count };
}

/** The normalisation of one place in a block: rows of weights [recursions or 1, channels], of which recursion k uses the k-th. */
export class LoopNormalization {
  readonly #options: Required<NormalizationOptions>;
  #gamma!: LayerVariable;
  #beta!: LayerVariable;
  #movingMean!: LayerVariable;
  #movingVariance!: LayerVariable;

  constructor(options: Required<NormalizationOptions>) {
    this.#options = options;
  }

  build(owner: WeightOwner, suffix: string, channels: number, recursions: number): void {
    const shape = [this.#options.scope === 'shared' ? 1 : recursions, channels];
    this.#gamma = owner.add(`gamma${suffix}`, shape, 'ones');
    this.#beta = owner.add(`beta${suffix}`, shape, 'zeros');
    if (!this.#options.statistics) return;
    this.#movingMean = owner.add(`moving_mean${suffix}`, shape, 'zeros', { trainable: false });
    this.#movingVariance = owner.add(`moving_variance${suffix}`, shape, 'ones', { trainable: false });
  }

  apply(x: Tensor, { recursion, training, entered, first }: LoopContext): Tensor {
    const row = this.#options.scope === 'shared' ? 0 : recursion;
    const channels = x.shape[x.rank - 1];
    const rowOf = (weight: LayerVariable) => tfc.reshape(tfc.slice2d(variableOf(weight) as Tensor as Tensor2D, [row, 0], [1, channels]), [channels]) as Tensor1D;
    if (!this.#options.statistics) return tfc.add(tfc.mul(x, rowOf(this.#gamma)), rowOf(this.#beta));
    const { epsilon } = this.#options;
    const [gamma, beta] = [rowOf(this.#gamma), rowOf(this.#beta)];
    if (training && entered === null) {
      const moments = withoutTape(() => maskedMoments(x, null));
      if (first) withoutTape(() => this.#update(row, moments));
      return batchNormalized(x, gamma, beta, moments, epsilon);
    }
    const [mean, variance] = entered !== null && training ? this.#entrantStatistics(x, row, entered, first, rowOf) : [rowOf(this.#movingMean), rowOf(this.#movingVariance)];
    return normalized(x, mean, variance, beta, gamma, epsilon);
  }

  #entrantStatistics(x: Tensor, row: number, entered: Tensor1D, first: boolean, rowOf: (weight: LayerVariable) => Tensor1D): [Tensor1D, Tensor1D] {
    const moments = maskedMoments(x, entered);
    // Computed once more for the gradient, they are not counted again.
    if (first) withoutTape(() => this.#update(row, moments));
    const { mean, variance, count } = moments;
    const any = tfc.greater(count, 0);
    return [tfc.where(any, mean, rowOf(this.#movingMean)), tfc.where(any, variance, rowOf(this.#movingVariance))];
  }

  /** As the host's batch normalisation keeps them; a recursion that no sample entered keeps its own. */
  #update(row: number, { mean, variance, count }: Moments): void {
    tfc.tidy(() => {
      const share = tfc.mul(1 - this.#options.momentum, tfc.cast(tfc.greater(count, 0), 'float32'));
      for (const [weight, value] of [[this.#movingMean, mean], [this.#movingVariance, variance]] as const) {
        const moving = variableOf(weight);
        const [rows, channels] = moving.shape;
        const place: [number, number][] = [[row, rows - row - 1], [0, channels - value.size]]; // prettier-ignore
        const difference = tfc.sub(value, tfc.slice(moving, [row, 0], [1, value.size]));
        moving.assign(tfc.add(moving, tfc.pad(tfc.mul(share, difference), place)) as tfc.Variable);
      }
    });
  }
}

/** The host's operation, which knows images and matrices. */
function normalized(x: Tensor, mean: Tensor1D, variance: Tensor1D, beta: Tensor1D, gamma: Tensor1D, epsilon: number): Tensor {
  return tfc.batchNorm(x as tfc.Tensor4D, mean, variance, beta, gamma, epsilon);
}

/**
 * {@link normalized} by the `moments` of x itself, on which the gradient goes, too: with c = x − mean, s = (variance + ε)^−½ and n values a channel,
 * dγ = s Σ dy·c, dβ = Σ dy, dx = γ s (dy − Σ dy / n − c s² Σ dy·c / n) (Ioffe & Szegedy 2015). The host's two gradients, of the normalisation and of the
 * moments, together take three times as long on tensorflow and six times on wasm.
 */
export function batchNormalized(x: Tensor, gamma: Tensor1D, beta: Tensor1D, { mean, variance }: Moments, epsilon: number): Tensor {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis);
  const values = x.size / x.shape[x.rank - 1];
  const scaleOf = (of: Tensor): Tensor => tfc.rsqrt(tfc.add(of, epsilon));
  const operation = tfc.customGrad((...args) => {
    const [input, factor, shift, save] = args as unknown as [Tensor, Tensor1D, Tensor1D, (tensors: Tensor[]) => void];
    save([input, factor, mean, scaleOf(variance)]);
    const gradFunc = (dy: Tensor, saved: Tensor[]): Tensor[] => {
      const [image, weight] = saved;
      let [, , centre, scale] = saved;
      if (isRecording()) {
        // Somebody differentiates this: what depends on x is to be seen doing so.
        const moments = maskedMoments(image, null);
        [centre, scale] = [moments.mean, scaleOf(moments.variance)];
      }
      const centred = tfc.sub(image, centre);
      const dBeta = tfc.sum(dy, axes);
      const product = tfc.mul(scale, tfc.sum(tfc.mul(dy, centred), axes));
      const factors = tfc.mul(weight, scale);
      const along = tfc.div(tfc.mul(tfc.mul(factors, scale), product), values);
      const dx = tfc.sub(tfc.sub(tfc.mul(dy, factors), tfc.mul(centred, along)), tfc.div(tfc.mul(factors, dBeta), values));
      return [dx, product, dBeta];
    };
    return { value: normalized(input, mean, variance, shift, factor, epsilon), gradFunc };
  });
  return operation(x, gamma, beta);
}
