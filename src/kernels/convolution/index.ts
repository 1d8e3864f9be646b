/** A convolution over images that can be trained on every backend, dilated ones included. */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { CONVOLUTION, FILTER_GRADIENT, INPUT_GRADIENT, type ConvolutionAttrs } from './wasm.js';

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
export function convolve(x: Tensor4D, filter: Tensor4D, { strides, pad, dilations, differentiable }: ConvolveArgs): Tensor4D {
  const attrs: ConvolutionAttrs = { strides, pad, dilations };
  if (tfc.getKernel(CONVOLUTION, tfc.getBackend()) != null) return run(CONVOLUTION, { x, filter }, attrs);
  const plain = dilations[0] === 1 && dilations[1] === 1;
  return plain || !differentiable ? tfc.conv2d(x, filter, strides, pad, 'NHWC', dilations) : dilated(x, filter, pad, dilations);
}

/** A convolution with strides 1, as one without dilation over every dilations[0]-th row and dilations[1]-th column. */
function dilated(x: Tensor4D, filter: Tensor4D, pad: 'valid' | 'same', dilations: [number, number]): Tensor4D {
  const axes = dilations.map((step, axis) => {
    const size = x.shape[1 + axis];
    const reach = (filter.shape[axis] - 1) * step;
    const padding = pad === 'same' ? reach : 0;
    const before = Math.floor(padding / 2);
    const padded = size + padding;
    // Up to a whole number of steps; what that adds is cropped.
    const extra = (step - (padded % step)) % step;
    return { paddings: [before, padding - before + extra], crops: [0, extra] };
  });
  const batches = tfc.spaceToBatchND(x, dilations, axes.map(({ paddings }) => paddings));
  return tfc.batchToSpaceND(tfc.conv2d(batches, filter, 1, 'valid'), dilations, axes.map(({ crops }) => crops));
}

const run = (name: string, inputs: Record<string, Tensor>, attrs: object): Tensor4D =>
  tfc.engine().runKernel<Tensor4D>(name, inputs, attrs as unknown as NamedAttrMap);

const attrsOf = (attrs: unknown): ConvolutionAttrs => {
  const { strides, pad, dilations } = attrs as ConvolutionAttrs;
  return { strides, pad, dilations };
};
const inputGradient = (dy: Tensor, filter: Tensor, inputShape: number[], attrs: ConvolutionAttrs) => run(INPUT_GRADIENT, { dy, filter }, { ...attrs, inputShape });
const filterGradient = (x: Tensor, dy: Tensor, filterShape: number[], attrs: ConvolutionAttrs) => run(FILTER_GRADIENT, { x, dy }, { ...attrs, filterShape });

// A convolution is linear in each of its inputs; so are its gradients, which are made of the same three operations.
tfc.registerGradient({
  kernelName: CONVOLUTION,
  inputsToSave: ['x', 'filter'],
  gradFunc: (dy, [x, filter], attrs) => ({
    x: () => inputGradient(dy as Tensor, filter, x.shape, attrsOf(attrs)),
    filter: () => filterGradient(x, dy as Tensor, filter.shape, attrsOf(attrs)),
  }),
});
tfc.registerGradient({
  kernelName: INPUT_GRADIENT,
  inputsToSave: ['dy', 'filter'],
  gradFunc: (g, [dy, filter], attrs) => ({
    dy: () => run(CONVOLUTION, { x: g as Tensor, filter }, attrsOf(attrs)),
    filter: () => filterGradient(g as Tensor, dy, filter.shape, attrsOf(attrs)),
  }),
});
tfc.registerGradient({
  kernelName: FILTER_GRADIENT,
  inputsToSave: ['x', 'dy'],
  gradFunc: (g, [x, dy], attrs) => ({
    x: () => inputGradient(dy, g as Tensor, x.shape, attrsOf(attrs)),
    dy: () => run(CONVOLUTION, { x, filter: g as Tensor }, attrsOf(attrs)),
  }),
});
