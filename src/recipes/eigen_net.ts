/** Eigen, Rolfe, Fergus & LeCun, Understanding Deep Architectures using a Recursive Convolutional Network, 2013 (arXiv 1312.1847). */
import { input, layers, model, type LayersModel } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { recursiveConv } from '../layers/recursion/recursive_conv.js';
import { applied, convolution } from './parts.js';

export interface EigenNetArgs {
  /** M, feature maps. Integer ≥ 1. Required. */
  maps: number;
  /** L, 3×3 layers behind the first. Integer ≥ 1. Required. */
  layers: number;
  /** One kernel for all of them. Default true; false: one for each. */
  tied?: boolean;
  /** Default [32, 32, 3]. */
  inputShape?: [number, number, number];
  /** Default 10. */
  classes?: number;
}

/**
 * Images to softmax `[batch, classes]`: an 8×8 convolution to M maps, max-pooling by 4, L convolutions 3×3 with one kernel M → M (or L kernels), ReLU
 * each, max-pooling by 2, and a dense layer. Tied, M and L change independently of each other and of the parameters: first M·(64·c + 1), all L
 * together 9·M² + M, tied or L times that untied.
 *
 * After the paper's CIFAR-10 network; pooling sizes are chosen here such that a 32×32 image has maps of 8×8 behind the first layer.
 */
export function eigenNet(args: EigenNetArgs): LayersModel {
  const who = 'eigenNet';
  checkKeys(who, args, ['maps', 'layers', 'tied', 'inputShape', 'classes']);
  const maps = checkNumber(who, 'maps', args.maps, integerAtLeast(1));
  const depth = checkNumber(who, 'layers', args.layers, integerAtLeast(1));
  const classes = checkNumber(who, 'classes', args.classes ?? 10, integerAtLeast(2));
  const tied = checkBoolean(who, 'tied', args.tied ?? true);
  const x = input({ shape: args.inputShape ?? [32, 32, 3] });
  let h = convolution({ kernelSize: 8, filters: maps, activation: 'relu' }, x);
  h = applied(layers.maxPooling2d({ poolSize: 4, strides: 4, padding: 'same' }), h);
  h = applied(recursiveConv({ kernelSize: 3, activation: 'relu', kernelInitializer: 'heNormal', recursions: depth, tied }), h);
  h = applied(layers.maxPooling2d({ poolSize: 2, strides: 2, padding: 'same' }), h);
  return model({ inputs: x, outputs: applied(layers.dense({ units: classes, activation: 'softmax' }), applied(layers.flatten(), h)), name: 'eigen_net' });
}
