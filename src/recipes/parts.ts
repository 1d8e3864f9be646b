/** What the recipes share: one convolution, applied to symbolic tensors. */
import { initializers, layers, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import type { ConvolutionArgs } from '../layers/recursion/convolution_unit.js';
import { recursiveConv } from '../layers/recursion/recursive_conv.js';

/** One convolution that trains on every backend: 3×3, He et al.'s initial weights. */
export const convolution = (args: ConvolutionArgs, x: SymbolicTensor): SymbolicTensor => applied(recursiveConv({ recursions: 1, kernelSize: 3, kernelInitializer: 'heNormal', ...args }), x);

export const applied = (layer: layers.Layer, x: SymbolicTensor | SymbolicTensor[]): SymbolicTensor => layer.apply(x) as SymbolicTensor;

export const added = (...tensors: SymbolicTensor[]): SymbolicTensor => applied(layers.add(), tensors);

/** Of a last convolution whose output is added to the image: at first next to nothing is. */
export const small = () => initializers.randomNormal({ mean: 0, stddev: 1e-3 });
