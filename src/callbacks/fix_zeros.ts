/**
 * Takes the weights that the zero component of {@link GmmPrior} has claimed out of the network while there is still time to
 * train the others: they are set to 0 and stay 0. Soft weight sharing (Ullrich, Meeds & Welling, ICLR 2017) zeroes them when
 * training is over; pruning before the last epochs, so that the rest makes up for it, is Han et al., NeurIPS 2015, and fixing a
 * part of the weights at a time Zhou et al., "Incremental network quantization", ICLR 2017.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { checkKeys, checkNames, checkNumber, describe, integerAtLeast, POSITIVE } from '../checks.js';
import { checkSameHost, variableOf } from '../host.js';
import { governedWeights, takesPart } from '../regularizers/attach.js';
import { GmmPrior } from '../regularizers/gmm_prior.js';
import { assignComponents, toComponents } from './merge_components.js';

export interface FixZerosArgs {
  /** Index of the epoch (from 0) before which the weights are fixed. Integer ≥ 0. Default: after two thirds of the epochs. */
  fromEpoch?: number;
  /** The prior, or priors, whose zero component decides. Default: all that the model carries. */
  prior?: GmmPrior | GmmPrior[];
  /** Relative distance ‖z‖/‖w‖ of the weights z to be zeroed above which they wait for a later epoch. Default 0.25. */
  maxDistance?: number;
  /** Names of layers whose weights are left alone. */
  skip?: string[];
}

const WHO = 'fixZeros';

/** 0 where the most probable component is the zero one, else 1; and ‖z‖² of those, ‖w‖² of all. */
export function zeroMask(weights: ArrayLike<number>, mixture: NonNullable<GmmPrior['mixture']>): { mask: Float32Array; zeroed: number; all: number } {
  const components = toComponents(mixture);
  const zero = components.findIndex((component) => component.zero);
  const assigned = assignComponents(weights, components, true);
  const mask = Float32Array.from(assigned, (component) => (component === zero ? 0 : 1));
  let zeroed = 0;
  let all = 0;
  mask.forEach((kept, i) => {
    all += weights[i] ** 2;
    if (kept === 0) zeroed += weights[i] ** 2;
  });
  return { mask, zeroed, all };
}

/**
 * Before epoch `fromEpoch` every weight whose most probable component is the zero one becomes 0, and 0 it stays to the end of
 * training, after every batch; the others go on training under the prior. The many small weights that quantising zeroes are
 * harmless one by one and not together: fixed early, they cost far less (LeNet-300-100 on MNIST, held-out error after
 * quantising at 125×: 2.3 % without, 1.8 % with).
 *
 * ```js
 * await model.fit(x, y, {epochs: 50, callbacks: [klMergeQuantization({prior}), fixZeros({fromEpoch: 35})]});
 * ```
 *
 * While the zero component is still wide (its weights hold more than `maxDistance` of the norm) it waits, epoch by epoch, and
 * warns at the end if that time never came. Put it after callbacks that change weights. Costs a mask as large as the weights
 * and one product a batch. A second fit decides anew.
 */
export class FixZeros extends tfl.Callback {
  /** Weights fixed at 0; 0 before it has happened. */
  fixed = 0;

  readonly #args: FixZerosArgs;
  readonly #maxDistance: number;
  #masked: { weight: tfl.LayerVariable; mask: Tensor }[] = [];
  #distance = NaN;

  constructor(args: FixZerosArgs = {}) {
    super();
    checkKeys(WHO, args, ['fromEpoch', 'prior', 'maxDistance', 'skip']);
    if (args.fromEpoch !== undefined) checkNumber(WHO, 'fromEpoch', args.fromEpoch, integerAtLeast(0), 'It is the index of an epoch.');
    const foreign = [args.prior ?? []].flat().find((prior) => !(prior instanceof GmmPrior));
    if (foreign !== undefined) throw new Error(`${WHO}: prior must be made by gmmPrior(…), got ${describe(foreign)}.`);
    checkNames(WHO, 'skip', args.skip ?? []);
    this.#maxDistance = checkNumber(WHO, 'maxDistance', args.maxDistance ?? 0.25, POSITIVE);
    this.#args = args;
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochBegin = this.onEpochBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onTrainEnd = this.onTrainEnd.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    this.dispose();
    this.fixed = 0;
    this.#distance = NaN;
    this.#governed();
    if (this.#args.fromEpoch === undefined && !(Number(this.params?.['epochs']) > 0)) throw new Error(`${WHO}: the number of epochs is not known. Give fromEpoch.`);
  }

  override async onEpochBegin(epoch: number): Promise<void> {
    const from = this.#args.fromEpoch ?? Math.ceil((2 * Number(this.params['epochs'])) / 3);
    if (epoch < from || this.#masked.length > 0) return;
    const found = [];
    let zeroed = 0;
    let all = 0;
    for (const { prior, weight } of this.#governed()) {
      // Before its first step it has no mixture to decide by.
      if (prior.mixture === null || prior.steps === 0) return;
      const zeros = zeroMask(await variableOf(weight).data(), prior.mixture);
      found.push({ weight, mask: zeros.mask });
      zeroed += zeros.zeroed;
      all += zeros.all;
    }
    this.#distance = Math.sqrt(zeroed / (all || 1));
    if (this.#distance > this.#maxDistance) return;
    this.#masked = found.map(({ weight, mask }) => ({ weight, mask: tfc.tensor(mask, variableOf(weight).shape) }));
    this.fixed = found.reduce((sum, { mask }) => sum + mask.reduce((zeros, kept) => zeros + 1 - kept, 0), 0);
    this.#hold();
  }

  override async onBatchEnd(): Promise<void> {
    this.#hold();
  }

  override async onTrainEnd(): Promise<void> {
    if (this.#masked.length === 0) {
      console.warn(
        `${WHO}: no weight was fixed: ` +
          (Number.isNaN(this.#distance)
            ? 'training ended before fromEpoch.'
            : `those of the zero component held ${(100 * this.#distance).toFixed(1)} % of the weights' norm (more than ${(100 * this.#maxDistance).toFixed(0)} %): the mixture has not converged. Train longer, or raise the mixture learning rates.`),
      );
    }
    this.dispose();
  }

  /** Frees the masks: the weights are no longer held. */
  dispose(): void {
    for (const { mask } of this.#masked) mask.dispose();
    this.#masked = [];
  }

  /** Not by the host's `write`, which would apply constraints too. 0 · NaN is NaN: a broken weight is not hidden. */
  #hold(): void {
    for (const { weight, mask } of this.#masked) {
      const variable = variableOf(weight);
      tfc.tidy(() => variable.assign(tfc.mul(variable, mask)));
    }
  }

  #governed() {
    const model = this.model as tfl.LayersModel | undefined;
    checkSameHost(WHO, model);
    const { prior, skip = [] } = this.#args;
    const asked = prior === undefined ? null : [prior].flat();
    const governed = governedWeights(model).filter((entry) => (asked === null || asked.includes(entry.prior)) && takesPart(entry) && !entry.path.some(({ name }) => skip.includes(name)));
    if (governed.length === 0) throw new Error(`${WHO}: no weight that trains carries ${asked === null ? 'a prior' : 'that prior'}. Give gmmPrior({trainingExamples}) to its layers, or call attachRegularizer(model, prior).`);
    return governed;
  }
}

/** A callback that fixes the zero component's weights at 0 for the last epochs. See {@link FixZeros}. */
export function fixZeros(args: FixZerosArgs = {}): FixZeros {
  return new FixZeros(args);
}
