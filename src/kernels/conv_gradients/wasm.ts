/**
 * What stock convolutions need on wasm in training: `Conv2DBackpropFilter`, `DepthwiseConv2dNativeBackpropFilter` and
 * `DepthwiseConv2dNativeBackpropInput` are missing there; `Conv2DBackpropInput` is a scalar loop that takes 7–40 times as long as the
 * convolution itself; `MaxPoolGrad` is slow, too, and answers wrong numbers for windows that are not square; `Conv3DBackpropInputV2` does always.
 */
import { backend_util } from '@tensorflow/tfjs-core';
import type { KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { filledOnHost, sizeOf, type Values } from '../host_memory.js';
import { addKernel, replaceKernel } from '../mending.js';
import {
  depthwiseFilterGradient, depthwiseInputGradient, filterGradient, inputGradient, inputGradient3D, maxPoolGradient, type ConvShape,
  type ConvShape3D,
} from './gradients.js';
import { loops, type Loops } from './loops.js';

type Shape4D = [number, number, number, number];
type Shape5D = [...Shape4D, number];

/** The attributes of the host's four gradient kernels. */
export interface ConvGradientAttrs {
  strides: number | [number, number];
  pad: 'valid' | 'same' | number | backend_util.ExplicitPadding;
  dataFormat?: 'NHWC' | 'NCHW';
  dilations?: number | [number, number] | null;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
  filterShape?: number[];
  inputShape?: number[];
}

type Gradient = (loops: Loops, shape: ConvShape, a: Float32Array, b: Float32Array, out: Float32Array) => void;

/** A kernel that fills a tensor of `outShape` by `gradient` of two inputs. */
function gradientKernel(who: string, names: [string, string], depthwise: boolean, gradient: Gradient): KernelFunc {
  return ({ inputs, backend, attrs }) => {
    const [a, b] = names.map((name) => (inputs as Record<string, TensorInfo>)[name]);
    const { strides, pad, dilations, dimRoundingMode, dataFormat = 'NHWC', ...shapes } = attrs as unknown as ConvGradientAttrs;
    [a, b].forEach((input, i) => checkFloats(who, names[i], input, 4));
    if (dataFormat !== 'NHWC') throw new Error(`${who}: the wasm backend convolves 'channelsLast' only, got dataFormat '${dataFormat}'.`);
    const inputShape = (shapes.inputShape ?? a.shape) as Shape4D;
    const filterShape = (shapes.filterShape ?? b.shape) as Shape4D;
    const dy = names[0] === 'dy' ? a : b;
    const info = backend_util.computeConv2DInfo(inputShape, filterShape, strides, dilations ?? 1, pad, dimRoundingMode, depthwise);
    checkCotangent(who, dy, info.outShape);
    const outShape = shapes.filterShape ?? inputShape;
    return filledOnHost(backend as KernelBackend, [a, b], { shape: outShape, dtype: 'float32' }, (out, x, y) => {
      const nothing = [a, b, { shape: outShape }].some((tensor) => sizeOf(tensor) === 0);
      if (nothing) out.fill(0);
      else gradient(loops(), info, floats(x), floats(y), floats(out));
    });
  };
}

const floats = (values: Values) => values as Float32Array;

function checkFloats(who: string, name: string, { dtype, shape }: TensorInfo, rank: number): void {
  if (dtype !== 'float32') throw new Error(`${who}: ${name} must be of type float32, got ${dtype}.`);
  if (shape.length !== rank) throw new Error(`${who}: ${name} must be of rank ${rank}, got [${shape}].`);
}

function checkCotangent(who: string, dy: TensorInfo, outShape: number[]): void {
  if (outShape.every((length, axis) => length === dy.shape[axis])) return;
  throw new Error(`${who}: dy must have the shape of the convolution's result, [${outShape}], got [${dy.shape}].`);
}

export const convFilterGradient = gradientKernel('Conv2DBackpropFilter', ['x', 'dy'], false, filterGradient);
export const convInputGradient = gradientKernel('Conv2DBackpropInput', ['dy', 'filter'], false, inputGradient);
export const depthwiseConvFilterGradient = gradientKernel('DepthwiseConv2dNativeBackpropFilter', ['x', 'dy'], true, depthwiseFilterGradient);
export const depthwiseConvInputGradient = gradientKernel('DepthwiseConv2dNativeBackpropInput', ['dy', 'filter'], true, depthwiseInputGradient);

const convInputGradient3D: KernelFunc = ({ inputs, backend, attrs }) => {
  const who = 'Conv3DBackpropInputV2';
  const { dy, filter } = inputs as unknown as { dy: TensorInfo; filter: TensorInfo };
  const { strides, pad, inputShape } = attrs as unknown as { strides: number | [number, number, number]; pad: 'valid' | 'same'; inputShape: Shape5D };
  checkFloats(who, 'dy', dy, 5);
  checkFloats(who, 'filter', filter, 5);
  const info = backend_util.computeConv3DInfo(inputShape, filter.shape as Shape5D, strides, 1, pad) as ConvShape3D & { outShape: number[] };
  checkCotangent(who, dy, info.outShape);
  return filledOnHost(backend as KernelBackend, [dy, filter], { shape: inputShape, dtype: 'float32' }, (out, cotangent, weights) => {
    if (sizeOf(dy) === 0 || sizeOf(filter) === 0) out.fill(0);
    else inputGradient3D(loops(), info, floats(cotangent), floats(weights), floats(out));
  });
};

/** Where the types are others than a network's, the stock kernel is asked. */
const maxPoolGrad = (stock: KernelFunc): KernelFunc => (args) => {
  const { dy, input, output } = args.inputs as unknown as Record<'dy' | 'input' | 'output', TensorInfo>;
  const { filterSize, strides, pad, dimRoundingMode } = args.attrs as unknown as ConvGradientAttrs & { filterSize: number | [number, number] };
  if ([dy, input, output].some((tensor) => tensor.dtype !== 'float32')) return stock(args);
  const info = backend_util.computePool2DInfo(input.shape as Shape4D, filterSize, strides, 1, pad, dimRoundingMode);
  return filledOnHost(args.backend as KernelBackend, [input, output, dy], { shape: input.shape, dtype: 'float32' }, (out, x, y, cotangent) => {
    if (sizeOf(dy) === 0) out.fill(0);
    else maxPoolGradient(loops(), info, floats(x), floats(y), floats(cotangent), floats(out));
  });
};

/** Registers the above for wasm, where it is imported, and names what it registered. */
export function registerConvGradients(): string[] {
  return [
    ...addKernel('Conv2DBackpropFilter', 'wasm', convFilterGradient),
    ...replaceKernel('Conv2DBackpropInput', 'wasm', (stock) => (args) =>
      (args.attrs as unknown as ConvGradientAttrs).dataFormat === 'NCHW' ? stock(args) : convInputGradient(args)),
    ...addKernel('DepthwiseConv2dNativeBackpropFilter', 'wasm', depthwiseConvFilterGradient),
    ...addKernel('DepthwiseConv2dNativeBackpropInput', 'wasm', depthwiseConvInputGradient),
    ...replaceKernel('Conv3DBackpropInputV2', 'wasm', () => convInputGradient3D),
    ...replaceKernel('MaxPoolGrad', 'wasm', maxPoolGrad),
  ];
}
