/** DRCN: Kim, Lee & Lee, Deeply-Recursive Convolutional Network for Image Super-Resolution, CVPR 2016 (arXiv 1511.04491). */
import { input, model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { recursiveConv } from '../layers/recursion/recursive_conv.js';
import { added, convolution, small } from './parts.js';

export interface DrcnArgs {
  /** D. Integer ≥ 1. Default 16. */
  recursions?: number;
  /** Channels of the state. Default 256. */
  filters?: number;
  /** Of the image. Default 1: luminance. */
  channels?: number;
  /** One kernel for all recursions. Default true; false: the untied network. */
  tied?: boolean;
}

/**
 * Input: an interpolated image `[batch, height, width, channels]` of any size. Outputs: ŷ, the learned weighted mean of all, then ŷ_1 … ŷ_D: each
 * recursion's state through one reconstruction of two convolutions, plus the input. Train it with `recursiveSupervision({steps: D})`; `model.outputs[0]`
 * is what to keep. The recursive convolution begins as the identity. 1 775 121 parameters as published (256 filters, D = 16).
 */
export function drcn(args: DrcnArgs = {}): LayersModel {
  const who = 'drcn';
  checkKeys(who, args, ['recursions', 'filters', 'channels', 'tied']);
  const recursions = checkNumber(who, 'recursions', args.recursions ?? 16, integerAtLeast(1));
  const filters = checkNumber(who, 'filters', args.filters ?? 256, integerAtLeast(1));
  const channels = checkNumber(who, 'channels', args.channels ?? 1, integerAtLeast(1));
  const x = input({ shape: [null, null, channels] });
  let h = convolution({ filters, activation: 'relu' }, x);
  h = convolution({ filters, activation: 'relu' }, h);
  const outputs = recursiveConv({
    kernelSize: 3, activation: 'relu', kernelInitializer: 'identity', recursions, tied: args.tied ?? true,
    head: [{ kernelSize: 3, activation: 'relu', kernelInitializer: 'heNormal' }, { kernelSize: 3, filters: channels, kernelInitializer: small() }],
    readout: 'weighted', everyStep: true,
  }).apply(h) as SymbolicTensor[]; // prettier-ignore
  return model({ inputs: x, outputs: outputs.map((output) => added(output, x)), name: 'drcn' });
}
