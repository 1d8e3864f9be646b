/** Convolutions over images that can be trained on every backend: plain, of groups of channels, of each channel by itself; dilated ones included. */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { CONVOLUTION, DEPTHWISE, type ConvolutionAttrs, type ConvolutionKernels } from './wasm.js';

export interface ConvolveArgs extends ConvolutionAttrs {
  /** Whether a gradient may be asked for: the host has none of a dilated convolution, which then takes a way that has. */
  differentiable: boolean;
}

/**
 * `tf.conv2d`, channels last: x [batch, height, width, in] by filter [rows, columns, in, out]. Differentiable in both.
 *
 * Where the backend has a `Convolution` kernel (wasm, whose stock convolution has no gradient), that is used. Otherwise a dilated convolution
 * that must be differentiable is a plain one over the pixels of each residue class (`tf.spaceToBatchND`): as many multiplications, and two
 * transpositions.
 */
export const convolve = (x: Tensor4D, filter: Tensor4D, args: ConvolveArgs): Tensor4D =>
  convolved(CONVOLUTION, x, filter, args, (image, { strides, pad, dilations }) => tfc.conv2d(image, filter, strides, pad, 'NHWC', dilations));

/** `tf.depthwiseConv2d` in the same way: filter [rows, columns, in, multiplier], y [batch, height', width', in · multiplier]. */
export const depthwiseConvolve = (x: Tensor4D, filter: Tensor4D, args: ConvolveArgs): Tensor4D =>
  convolved(DEPTHWISE, x, filter, args, (image, { strides, pad, dilations }) => tfc.depthwiseConv2d(image, filter, strides, pad, 'NHWC', dilations));

/** A convolution of each group of channels by itself; filter [rows, columns, in / groups, out]. */
export function groupedConvolve(x: Tensor4D, filter: Tensor4D, groups: number, args: ConvolveArgs): Tensor4D {
  if (groups === 1) return convolve(x, filter, args);
  const inputs = tfc.split(x, groups, 3) as Tensor4D[];
  const filters = tfc.split(filter, groups, 3) as Tensor4D[];
  return tfc.concat(inputs.map((channels, g) => convolve(channels, filters[g], args)), 3);
}

type StockConvolution = (x: Tensor4D, attrs: ConvolutionAttrs) => Tensor4D;

function convolved(kernels: ConvolutionKernels, x: Tensor4D, filter: Tensor4D, { strides, pad, dilations, differentiable }: ConvolveArgs, stock: StockConvolution): Tensor4D {
  const attrs: ConvolutionAttrs = { strides, pad, dilations };
  if (tfc.getKernel(kernels.forward, tfc.getBackend()) != null) return run(kernels.forward, { x, filter }, attrs);
  const plain = dilations[0] === 1 && dilations[1] === 1;
  return plain || !differentiable ? stock(x, attrs) : dilated(x, filter.shape, attrs, stock);
}

/** A convolution with strides 1, as one without dilation over every dilations[0]-th row and dilations[1]-th column. */
function dilated(x: Tensor4D, filterShape: number[], { pad, dilations }: ConvolutionAttrs, stock: StockConvolution): Tensor4D {
  const axes = dilations.map((step, axis) => {
    const size = x.shape[1 + axis];
    const reach = (filterShape[axis] - 1) * step;
    const padding = pad === 'same' ? reach : 0;
    const before = Math.floor(padding / 2);
    const padded = size + padding;
    // Up to a whole number of steps; what that adds is cropped.
    const extra = (step - (padded % step)) % step;
    return { paddings: [before, padding - before + extra], crops: [0, extra] };
  });
  const batches = tfc.spaceToBatchND(x, dilations, axes.map(({ paddings }) => paddings));
  const y = stock(batches, { strides: [1, 1], pad: 'valid', dilations: [1, 1] });
  return tfc.batchToSpaceND(y, dilations, axes.map(({ crops }) => crops));
}

const run = (name: string, inputs: Record<string, Tensor>, attrs: object): Tensor4D =>
  tfc.engine().runKernel<Tensor4D>(name, inputs, attrs as unknown as NamedAttrMap);

const attrsOf = (attrs: unknown): ConvolutionAttrs => {
  const { strides, pad, dilations } = attrs as ConvolutionAttrs;
  return { strides, pad, dilations };
};

/** A convolution is linear in each of its inputs; so are its gradients, which are made of the same three operations. */
function registerGradients({ forward, inputGradient, filterGradient }: ConvolutionKernels): void {
  const toInput = (dy: Tensor, filter: Tensor, inputShape: number[], attrs: ConvolutionAttrs) => run(inputGradient, { dy, filter }, { ...attrs, inputShape });
  const toFilter = (x: Tensor, dy: Tensor, filterShape: number[], attrs: ConvolutionAttrs) => run(filterGradient, { x, dy }, { ...attrs, filterShape });
  tfc.registerGradient({
    kernelName: forward,
    inputsToSave: ['x', 'filter'],
    gradFunc: (dy, [x, filter], attrs) => ({
      x: () => toInput(dy as Tensor, filter, x.shape, attrsOf(attrs)),
      filter: () => toFilter(x, dy as Tensor, filter.shape, attrsOf(attrs)),
    }),
  });
  tfc.registerGradient({
    kernelName: inputGradient,
    inputsToSave: ['dy', 'filter'],
    gradFunc: (g, [dy, filter], attrs) => ({
      dy: () => run(forward, { x: g as Tensor, filter }, attrsOf(attrs)),
      filter: () => toFilter(g as Tensor, dy, filter.shape, attrsOf(attrs)),
    }),
  });
  tfc.registerGradient({
    kernelName: filterGradient,
    inputsToSave: ['x', 'dy'],
    gradFunc: (g, [x, dy], attrs) => ({
      x: () => toInput(dy, g as Tensor, x.shape, attrsOf(attrs)),
      dy: () => run(forward, { x, filter: g as Tensor }, attrsOf(attrs)),
    }),
  });
}

[CONVOLUTION, DEPTHWISE].forEach(registerGradients);
