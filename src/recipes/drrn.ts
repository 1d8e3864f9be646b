/** DRRN: Tai, Yang & Liu, Image Super-Resolution via Deep Recursive Residual Network, CVPR 2017. */
import { input, model, type LayersModel } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { recursiveConv } from '../layers/recursion/recursive_conv.js';
import { added, applied, convolution, small } from './parts.js';

export interface DrrnArgs {
  /** U, residual units with one set of weights. Integer ≥ 1. Default 9; the paper's deepest has 25. */
  units?: number;
  /** Channels of the state. Default 128. */
  filters?: number;
  /** Of the image. Default 1: luminance. */
  channels?: number;
  /** One set of weights for all units. Default true; false: the untied network of equal depth. */
  tied?: boolean;
}

/**
 * Input and output: an interpolated image `[batch, height, width, channels]` of any size, and the sharper one, input plus what is learned.
 * x₀ = conv(ReLU(x)); U times h ← conv₂(ReLU(conv₁(ReLU h))) + x₀; y = conv(ReLU h) + x. 2·U + 2 convolutions, B = 1. 297 216 parameters as
 * published, for any U (`filters: 128`); untied, 294 912 for each unit.
 *
 * Train it with clipped gradients or a small rate. As in the authors' public code there is no normalisation.
 */
export function drrn(args: DrrnArgs = {}): LayersModel {
  const who = 'drrn';
  checkKeys(who, args, ['units', 'filters', 'channels', 'tied']);
  const units = checkNumber(who, 'units', args.units ?? 9, integerAtLeast(1));
  const filters = checkNumber(who, 'filters', args.filters ?? 128, integerAtLeast(1));
  const channels = checkNumber(who, 'channels', args.channels ?? 1, integerAtLeast(1));
  const x = input({ shape: [null, null, channels] });
  const before = { kernelSize: 3, preActivation: true, activation: 'relu' as const, useBias: false, kernelInitializer: 'heNormal' as const };
  const h = convolution({ ...before, filters }, x);
  const recursion = recursiveConv({ block: [before, before], recursions: units, connection: 'inputSkip', tied: args.tied ?? true });
  return model({ inputs: x, outputs: added(convolution({ ...before, filters: channels, kernelInitializer: small() }, applied(recursion, h)), x), name: 'drrn' });
}
