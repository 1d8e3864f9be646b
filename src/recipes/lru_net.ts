/** LruNet: Köpüklü, Babaee, Hörmann & Rigoll, Convolutional Neural Networks with Layer Reuse, ICIP 2019 (arXiv 1901.09615). */
import { input, layers, model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import type { NormalizationOptions } from '../layers/recursion/loop_normalization.js';
import { recursiveConv, type RecursiveConv } from '../layers/recursion/recursive_conv.js';
import { applied, convolution } from './parts.js';

/** As where it comes from. */
const NORMALIZATION: NormalizationOptions = { scope: 'perRecursion', momentum: 0.9, epsilon: 1e-5 };

export interface LruBlockArgs {
  /** Channels in and out; 8 divides them. Required. */
  channels: number;
  /** N. Integer ≥ 1. Required. */
  recursions: number;
}

/**
 * The layer reuse block: N times a depthwise 3×3 convolution to twice the channels and a 1×1 convolution in 8 groups back, each normalised by statistics per
 * recursion, plus the state, ReLU, and between recursions the halves of the channels swapped and shuffled.
 *
 * Parameters: 18·C + C²/4 for all recursions, and 6·C for each, in the normalisation.
 */
export function lruBlock(args: LruBlockArgs): RecursiveConv {
  const who = 'lruBlock';
  checkKeys(who, args, ['channels', 'recursions']);
  const channels = checkNumber(who, 'channels', args.channels, { expected: 'a multiple of 8', holds: (count) => Number.isInteger(count / 8) && count > 0 }, 'They are convolved in 8 groups.');
  const recursions = checkNumber(who, 'recursions', args.recursions, integerAtLeast(1));
  return recursiveConv({
    block: [
      { kernelSize: 3, depthMultiplier: 2, useBias: false, normalization: NORMALIZATION, kernelInitializer: 'heNormal' },
      { kernelSize: 1, filters: channels, groups: 8, useBias: false, normalization: NORMALIZATION, kernelInitializer: 'heNormal' },
    ],
    recursions,
    connection: 'residual',
    stateActivation: 'relu',
    shuffle: { groups: 2, swapHalves: true },
  });
}

export interface LruNetArgs {
  /** N, recursions of each block. Integer ≥ 1. Required. */
  recursions: number;
  /** Default [32, 32, 3]. */
  inputShape?: [number, number, number];
  /** Default 10. */
  classes?: number;
  /** Before the last convolution. Default 0.5. */
  dropout?: number;
  /** Factor of all channels but the classes: the paper's 1×, 2×; 8 must divide 64 times it. Default 1. */
  width?: number;
}

/**
 * LruNet for images: four {@link lruBlock}s of 64, 128, 256 and 512 channels (1×), the channels doubled by repetition between them, 3×3
 * max-pooling. Output: softmax `[batch, classes]`. With 10 classes and images of three channels 131 402 trainable parameters at N = 1,
 * 206 282 at N = 14, of which 39 % are normalisation's.
 *
 * Deviations from the authors' code: the logits have no ReLU, the last mean is over all pixels, so that any size goes, and pooling pads at the end only.
 * The first convolution is computed at full size; every other pixel of it is used.
 */
export function lruNet(args: LruNetArgs): LayersModel {
  const who = 'lruNet';
  checkKeys(who, args, ['recursions', 'inputShape', 'classes', 'dropout', 'width']);
  const recursions = checkNumber(who, 'recursions', args.recursions, integerAtLeast(1));
  const classes = checkNumber(who, 'classes', args.classes ?? 10, integerAtLeast(2));
  const width = checkNumber(who, 'width', args.width ?? 1, { expected: 'a multiple of 1/8, at least 1/8', holds: (value) => value >= 1 / 8 && Number.isInteger(8 * value) }, 'The blocks have channels in 8 groups.');
  const x = input({ shape: args.inputShape ?? [32, 32, 3] });
  const normalized = { useBias: false, normalization: NORMALIZATION, activation: 'relu' as const };
  let h = convolution({ filters: 64 * width, ...normalized }, x);
  // Every other pixel: with the convolution, one of strides 2, which trains on every backend.
  h = applied(layers.maxPooling2d({ poolSize: 1, strides: 2 }), h);
  [64, 128, 256, 512].forEach((channels, stage) => {
    h = applied(lruBlock({ channels: channels * width, recursions }), h);
    if (stage !== 2) h = applied(layers.maxPooling2d({ poolSize: 3, strides: 2, padding: 'same' }), h);
    if (stage < 3) h = twice(h);
  });
  h = convolution({ kernelSize: 1, filters: 256 * width, groups: 8, ...normalized }, h);
  h = applied(layers.dropout({ rate: args.dropout ?? 0.5 }), h);
  h = convolution({ kernelSize: 1, filters: classes }, h);
  return model({ inputs: x, outputs: applied(layers.activation({ activation: 'softmax' }), applied(layers.globalAveragePooling2d({ dataFormat: 'channelsLast' }), h)), name: 'lru_net' });
}

/** The channels, and once more. */
const twice = (x: SymbolicTensor): SymbolicTensor => applied(layers.concatenate(), [x, x]);
