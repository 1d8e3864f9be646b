/** RDN: Zhang, Tian, Kong, Zhong & Fu, Residual Dense Network for Image Super-Resolution, CVPR 2018 (arXiv 1802.08797). */
import { input, layers, model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { pixelShuffle } from '../layers/pixel_shuffle.js';
import { recursiveConv } from '../layers/recursion/recursive_conv.js';
import { added, applied, convolution, small } from './parts.js';

export interface RdnArgs {
  /** Of height and width; 1: the image is interpolated already, and what is learned is added to it. Integer ≥ 1. Required. */
  scale: number;
  /** Residual dense blocks. Integer ≥ 2. Default 16. */
  blocks?: number;
  /** Convolutions in each. Integer ≥ 1. Default 8. */
  layers?: number;
  /** Channels between blocks and growth of each convolution. Default 64. */
  filters?: number;
  /** Of the image. Default 3. */
  channels?: number;
}

/**
 * Input: the small image `[batch, height, width, channels]` of any size; output: that `scale` times as large. Shallow features, blocks that concatenate all that
 * their convolutions made and fuse it by a 1×1 convolution, the outputs of all blocks fused likewise, and pixels from channels. Not a recursive
 * network: no two convolutions share weights (`tied: false`). 22 123 395 parameters at `scale: 2` with the defaults: what parameters buy over
 * DRRN's 0.3 million.
 */
export function rdn(args: RdnArgs): LayersModel {
  const who = 'rdn';
  checkKeys(who, args, ['scale', 'blocks', 'layers', 'filters', 'channels']);
  const scale = checkNumber(who, 'scale', args.scale, integerAtLeast(1));
  const blocks = checkNumber(who, 'blocks', args.blocks ?? 16, integerAtLeast(2));
  const depth = checkNumber(who, 'layers', args.layers ?? 8, integerAtLeast(1));
  const filters = checkNumber(who, 'filters', args.filters ?? 64, integerAtLeast(1));
  const channels = checkNumber(who, 'channels', args.channels ?? 3, integerAtLeast(1));
  const x = input({ shape: [null, null, channels] });
  const shallow = convolution({ filters }, x);
  const dense = (h: SymbolicTensor) => {
    const fused = recursiveConv({ kernelSize: 3, filters, activation: 'relu', kernelInitializer: 'heNormal', recursions: depth, tied: false, connection: 'dense', readout: 'fusion' });
    return added(applied(fused, h), h);
  };
  const made = [convolution({ filters }, shallow)];
  for (let block = 0; block < blocks; block++) made.push(dense(made[block]));
  const all = applied(layers.concatenate(), made.slice(1));
  let h = added(convolution({ filters }, convolution({ kernelSize: 1, filters }, all)), shallow);
  if (scale > 1) h = applied(pixelShuffle({ scale }), convolution({ filters: filters * scale ** 2 }, h));
  const outputs = scale > 1 ? convolution({ filters: channels, kernelInitializer: 'glorotNormal' }, h) : added(convolution({ filters: channels, kernelInitializer: small() }, h), x);
  return model({ inputs: x, outputs, name: 'rdn' });
}
