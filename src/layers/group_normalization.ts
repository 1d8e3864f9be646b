/** Normalisation of each sample by itself, channels in groups. Wu & He, Group Normalization, ECCV 2018 (arXiv 1803.08494). */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast, POSITIVE } from '../checks.js';
import { initializerOf, LAYER_OPTIONS, serialized, variableOf, type Initializer, type InitializerIdentifier, type LayerArgs } from '../host.js';

export interface GroupNormalizationArgs extends LayerArgs {
  /** Groups, of equally many channels each. Integer ≥ 1 that divides the channels; 1 is layer normalisation over the whole sample. Default 32. */
  groups?: number;
  /** Added to the variance. > 0. Default 1e-3. */
  epsilon?: number;
  /** Of γ. Default `ones`. */
  gammaInitializer?: InitializerIdentifier;
  /** Of β. Default `zeros`. */
  betaInitializer?: InitializerIdentifier;
}

/** (x − mean) / √(variance + ε), both over the positions of a sample `[batch, …, channels]` and the channels of a group. */
export function normalizedGroups(x: Tensor, groups: number, epsilon: number): Tensor {
  return tfc.tidy(() => {
    const channels = x.shape[x.rank - 1];
    // One group is a row of memory: reduced without a transposition.
    const positions = x.shape.slice(1, -1).reduce((product, length) => product * length, 1);
    const [shape, axes] = groups === 1 ? [[x.shape[0], positions * channels], [1]] : [[x.shape[0], positions, groups, channels / groups], [1, 3]];
    const grouped = tfc.reshape(x, shape);
    const centred = tfc.sub(grouped, tfc.mean(grouped, axes, true));
    const variance = tfc.mean(tfc.square(centred), axes, true);
    return tfc.reshape(tfc.mul(centred, tfc.rsqrt(tfc.add(variance, epsilon))), x.shape);
  });
}

/**
 * y = γ · (x − mean) / √(variance + ε) + β, mean and variance over all positions and over the channels of a group, for each sample by itself; γ
 * and β one number a channel. Input and output `[batch, …, channels]`, positions of any number, of any size.
 *
 * Unlike batch normalisation it has no running statistics and does the same in training and in inference, so that it may stand in the cell of
 * `deqLayer`; unlike the host's `layerNormalization` over several axes, its weights do not grow with the image. Two numbers a channel. Takes no
 * mask, since what is masked would count in the statistics. Not for inputs without positions and few channels a group: of one number nothing is left.
 *
 * ```js
 * model.add(tf.layers.conv2d({filters: 64, kernelSize: 3, useBias: false}));
 * model.add(groupNormalization({groups: 8}));
 * ```
 */
export class GroupNormalization extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'GroupNormalization';
  readonly groups: number;
  readonly epsilon: number;
  readonly gammaInitializer: Initializer;
  readonly betaInitializer: Initializer;
  gamma: LayerVariable | null = null;
  beta: LayerVariable | null = null;

  constructor(args: GroupNormalizationArgs = {}) {
    super(args);
    const who = 'GroupNormalization';
    checkKeys(who, args, ['groups', 'epsilon', 'gammaInitializer', 'betaInitializer', ...LAYER_OPTIONS]);
    this.groups = checkNumber(who, 'groups', args.groups ?? 32, integerAtLeast(1));
    this.epsilon = checkNumber(who, 'epsilon', args.epsilon ?? 1e-3, POSITIVE);
    this.gammaInitializer = initializerOf(who, 'gammaInitializer', args.gammaInitializer ?? 'ones');
    this.betaInitializer = initializerOf(who, 'betaInitializer', args.betaInitializer ?? 'zeros');
  }

  override build(inputShape: Shape | Shape[]): void {
    const channels = (inputShape as Shape).at(-1);
    const who = `GroupNormalization '${this.name}'`;
    if (typeof channels !== 'number' || inputShape.length < 2) throw new Error(`${who}: expected one input [batch, …, channels] with a known number of channels, got [${inputShape.map((n) => n ?? 'null').join(', ')}].`);
    if (channels % this.groups !== 0) throw new Error(`${who}: groups must divide the ${channels} channels of the input, got ${this.groups}. Use groups: 1 to normalise over all of them.`);
    this.gamma = this.addWeight('gamma', [channels], 'float32', this.gammaInitializer);
    this.beta = this.addWeight('beta', [channels], 'float32', this.betaInitializer);
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      return tfc.add(tfc.mul(normalizedGroups(x, this.groups, this.epsilon), variableOf(this.gamma!)), variableOf(this.beta!));
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape | Shape[] {
    return inputShape;
  }

  override getConfig(): serialization.ConfigDict {
    const { groups, epsilon, gammaInitializer, betaInitializer } = this;
    return { ...super.getConfig(), groups, epsilon, gammaInitializer: serialized(gammaInitializer), betaInitializer: serialized(betaInitializer) };
  }
}

/** Normalises each sample by itself, channels in groups. See {@link GroupNormalization}. */
export const groupNormalization = (args?: GroupNormalizationArgs): GroupNormalization => new GroupNormalization(args);

tfc.serialization.registerClass(GroupNormalization);
