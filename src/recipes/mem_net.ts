/** MemNet: Tai, Yang, Liu & Xu, MemNet: A Persistent Memory Network for Image Restoration, ICCV 2017 (arXiv 1708.02209). */
import { input, model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { recursiveConv, type RecursiveConv } from '../layers/recursion/recursive_conv.js';
import { weightedFusion } from '../layers/weighted_fusion.js';
import { added, applied, convolution, small } from './parts.js';

export interface MemNetArgs {
  /** M, memory blocks. Integer ≥ 2. Default 6. */
  blocks?: number;
  /** R, recursions of each. Integer ≥ 1. Default 6. */
  recursions?: number;
  /** Channels of the state. Default 64. */
  filters?: number;
  /** Of the image. Default 1: luminance. */
  channels?: number;
  /** Normalise before each activation, as published. Default true. */
  normalization?: boolean;
}

type Before = { preActivation: true; activation: 'relu'; useBias: false; normalization: 'shared' | 'none' };

/** R residual units of two convolutions with one set of weights, then the gate: a 1×1 convolution of all their outputs and of all memories. */
const memoryBlock = (filters: number, recursions: number, before: Before): RecursiveConv =>
  recursiveConv({
    block: [{ kernelSize: 3, kernelInitializer: 'heNormal', ...before }, { kernelSize: 3, kernelInitializer: 'heNormal', ...before }],
    recursions,
    connection: 'residual',
    readout: 'memory',
    fusion: { kernelSize: 1, filters, kernelInitializer: 'heNormal', ...before },
  }); // prettier-ignore

/**
 * Input: an interpolated image `[batch, height, width, channels]` of any size. Outputs: ŷ, the learned weighted mean of all, then ŷ_1 … ŷ_M, each
 * memory block's through one reconstruction, plus the input; train it with `recursiveSupervision({steps: M})`. M6R6 has 80 convolutions of
 * 676 992 parameters, as published; normalisation and the M weights of the mean come on top.
 *
 * Deviation: normalisation is shared by the recursions of a block, in its place before each ReLU.
 */
export function memNet(args: MemNetArgs = {}): LayersModel {
  const who = 'memNet';
  checkKeys(who, args, ['blocks', 'recursions', 'filters', 'channels', 'normalization']);
  const blocks = checkNumber(who, 'blocks', args.blocks ?? 6, integerAtLeast(2));
  const recursions = checkNumber(who, 'recursions', args.recursions ?? 6, integerAtLeast(1));
  const filters = checkNumber(who, 'filters', args.filters ?? 64, integerAtLeast(1));
  const channels = checkNumber(who, 'channels', args.channels ?? 1, integerAtLeast(1));
  const normalization = checkBoolean(who, 'normalization', args.normalization ?? true) ? 'shared' : 'none';
  const before: Before = { preActivation: true, activation: 'relu', useBias: false, normalization };
  const x = input({ shape: [null, null, channels] });
  const memories = [convolution({ ...before, filters }, x)];
  for (let block = 0; block < blocks; block++) {
    const [last, earlier] = [memories[block], memories.slice(0, block)];
    memories.push(applied(memoryBlock(filters, recursions, before), earlier.length === 0 ? last : [last, ...earlier]));
  }
  const reconstruction = recursiveConv({ kernelSize: 3, filters: channels, recursions: 1, kernelInitializer: small(), ...before });
  const outputs: SymbolicTensor[] = memories.slice(1).map((memory) => added(applied(reconstruction, memory), x));
  return model({ inputs: x, outputs: [applied(weightedFusion(), outputs), ...outputs], name: 'mem_net' });
}
