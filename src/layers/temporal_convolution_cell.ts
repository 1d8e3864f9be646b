/** A cell for `deqLayer` on sequences, put together from the host's layers. */
import { initializers, input, layers, model, type LayersModel, type Shape, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { hostSeed } from '../uniform_numbers.js';
import { recursiveConv } from './recursion/recursive_conv.js';

const join = (tensors: SymbolicTensor[]): SymbolicTensor => (tensors.length === 1 ? tensors[0] : (layers.add().apply(tensors) as SymbolicTensor));
const applied = (layer: layers.Layer, to: SymbolicTensor): SymbolicTensor => layer.apply(to) as SymbolicTensor;

export interface TemporalConvolutionCellArgs {
  /** Channels of the state. Integer ≥ 1. Required. */
  units: number;
  /** Channels of the input; default `units`. */
  inputDim?: number;
  /** Steps of time that one iteration looks at, the present one included. Integer ≥ 2. Default 2. */
  kernelSize?: number;
  /** Distance between them. Integer ≥ 1. Default 1. */
  dilation?: number;
  /** Makes initial weights repeatable. Integer ≥ 0. Default: none. */
  seed?: number;
}

/**
 * A cell for sequences after TrellisNet (Bai, Kolter & Koltun, ICLR 2019), as the paper on deep equilibrium models uses it: a convolution over the
 * past with the input injected, z'_t = tanh(Σ_k z_{t−k} W_k + x_t U) ⊙ σ(Σ_k z_{t−k} V_k + x_t Y). States and inputs `[batch, time, channels]`, any
 * length. At the fixed point each step has seen all of the past. Causal: z_t depends on no later x.
 *
 * ```js
 * const z = deqLayer({cell: temporalConvolutionCell({units: 128})}).apply(embedded);
 * ```
 *
 * Deviation: the gates are those above, without the LSTM's cell state. The host has no causal convolution over time: it is one over two axes here.
 */
export function temporalConvolutionCell(args: TemporalConvolutionCellArgs): LayersModel {
  const who = 'temporalConvolutionCell';
  checkKeys(who, args, ['units', 'inputDim', 'kernelSize', 'dilation', 'seed']);
  const units = checkNumber(who, 'units', args.units, integerAtLeast(1));
  const inputDim = checkNumber(who, 'inputDim', args.inputDim ?? units, integerAtLeast(1));
  const kernelSize = checkNumber(who, 'kernelSize', args.kernelSize ?? 2, integerAtLeast(2));
  const dilation = checkNumber(who, 'dilation', args.dilation ?? 1, integerAtLeast(1));
  const seed = args.seed === undefined ? null : checkNumber(who, 'seed', args.seed, integerAtLeast(0));
  let draws = 0;
  const seeded = () => (seed === null ? {} : { seed: hostSeed(1000 * seed + draws++) });
  const [z, x] = [input({ shape: [null, units] }), input({ shape: [null, inputDim] })];
  const reach = dilation * (kernelSize - 1);
  const plane = applied(layers.reshape({ targetShape: [-1, 1, units] as unknown as Shape }), z);
  const padded = applied(layers.zeroPadding2d({ padding: [[reach, 0], [0, 0]] }), plane); // prettier-ignore
  const gate = (activation: 'tanh' | 'sigmoid') => {
    const shape = { filters: units, kernelSize: [kernelSize, 1] as [number, number], kernelInitializer: initializers.randomNormal({ mean: 0, stddev: 0.5 / Math.sqrt(kernelSize * units), ...seeded() }) };
    // The host's dilated convolutions have no gradient.
    const past = dilation === 1 ? applied(layers.conv2d(shape), padded) : applied(layers.cropping2D({ cropping: [[reach >> 1, reach - (reach >> 1)], [0, 0]] }), applied(recursiveConv({ ...shape, dilationRate: [dilation, 1], recursions: 1 }), padded)); // prettier-ignore
    const sequence = applied(layers.reshape({ targetShape: [-1, units] as unknown as Shape }), past);
    return applied(layers.activation({ activation }), join([sequence, applied(layers.dense({ units, useBias: false, kernelInitializer: initializers.glorotNormal(seeded()) }), x)]));
  };
  return model({ inputs: [z, x], outputs: layers.multiply().apply([gate('tanh'), gate('sigmoid')]) as SymbolicTensor });
}
