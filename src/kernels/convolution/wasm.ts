/**
 * A convolution for the wasm backend under names of our own, with the gradients that the host lacks there (conv_gradients): our layers
 * train whether or not `registerMissingKernels()` was called.
 */
import { backend_util, getKernel, registerKernel, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { convFilterGradient, convInputGradient, depthwiseConvFilterGradient, depthwiseConvInputGradient } from '../conv_gradients/wasm.js';

/** Names of a convolution and of its gradients, which are made of the same three operations. */
export interface ConvolutionKernels {
  /** x, filter → y */
  forward: string;
  /** dy, filter → dx of shape `inputShape` */
  inputGradient: string;
  /** x, dy → dfilter of shape `filterShape` */
  filterGradient: string;
}

/** x [batch, height, width, in], filter [rows, columns, in, out] → y [batch, height', width', out] */
export const CONVOLUTION: ConvolutionKernels = { forward: 'Convolution', inputGradient: 'ConvolutionInputGradient', filterGradient: 'ConvolutionFilterGradient' };
/** x [batch, height, width, in], filter [rows, columns, in, multiplier] → y [batch, height', width', in · multiplier] */
export const DEPTHWISE: ConvolutionKernels = {
  forward: 'DepthwiseConvolution', inputGradient: 'DepthwiseConvolutionInputGradient', filterGradient: 'DepthwiseConvolutionFilterGradient',
}; // prettier-ignore

type Pair = [number, number];
type Shape4D = [number, number, number, number];

export interface ConvolutionAttrs {
  strides: Pair;
  pad: 'valid' | 'same';
  dilations: Pair;
}

const BACKEND = 'wasm';

const convolution = (stockName: string): KernelFunc => ({ inputs, backend, attrs }) => {
  const stock = getKernel(stockName, BACKEND);
  if (stock == null) throw new Error(`Convolution: the wasm backend has no kernel '${stockName}'. Import the whole of @tensorflow/tfjs-backend-wasm.`);
  const { x, filter } = inputs as { x: TensorInfo; filter: TensorInfo };
  const { strides, dilations, pad } = attrs as unknown as ConvolutionAttrs;
  return stock.kernelFunc({ inputs, backend, attrs: { strides, dilations, pad: explicitly(pad, x, filter, strides, dilations), dataFormat: 'NHWC' } as never });
};

/** 'same' in numbers where strides are larger than the filter: the stock kernel then answers zeros, or what was in memory, for some sizes. */
function explicitly(pad: 'valid' | 'same', x: TensorInfo, filter: TensorInfo, strides: Pair, dilations: Pair): 'valid' | 'same' | backend_util.ExplicitPadding {
  if (pad === 'valid' || strides.every((stride, axis) => stride <= filter.shape[axis])) return pad;
  const { padInfo } = backend_util.computeConv2DInfo(x.shape as Shape4D, filter.shape as Shape4D, strides, dilations, pad);
  return [[0, 0], [padInfo.top, padInfo.bottom], [padInfo.left, padInfo.right], [0, 0]];
}

for (const [kernelName, kernelFunc] of Object.entries({
  [CONVOLUTION.forward]: convolution('Conv2D'),
  [CONVOLUTION.inputGradient]: convInputGradient,
  [CONVOLUTION.filterGradient]: convFilterGradient,
  [DEPTHWISE.forward]: convolution('DepthwiseConv2dNative'),
  [DEPTHWISE.inputGradient]: depthwiseConvInputGradient,
  [DEPTHWISE.filterGradient]: depthwiseConvFilterGradient,
})) {
  // Another copy of this package in the same page may have been here.
  if (getKernel(kernelName, BACKEND) == null) registerKernel({ kernelName, backendName: BACKEND, kernelFunc });
}
