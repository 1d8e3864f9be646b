/** A convolution that changes nothing at first (DRCN: Kim, Lee & Lee, CVPR 2016; Le, Jaitly & Hinton 2015). */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/**
 * A kernel [...space, in / groups, out], or [...space, in, multiplier] of a depthwise convolution, that is `gain` at the middle tap between
 * each channel and itself (for a multiplier, to the first of its outputs), and 0 elsewhere.
 * @throws Error if the numbers of channels in and out differ.
 */
export function identityKernel(who: string, shape: number[], { groups = 1, depthwise = false, gain = 1 }): Tensor {
  const [inputs, outputs] = shape.slice(-2);
  if (!depthwise && inputs * groups !== outputs) {
    throw new Error(`${who}: kernelInitializer 'identity' needs as many channels out as in, got ${inputs * groups} in and ${outputs} out. Use another initializer.`);
  }
  const values = new Float32Array(tfc.util.sizeFromShape(shape));
  const middle = shape.slice(0, -2).reduce((index, length) => index * length + ((length - 1) >> 1), 0) * inputs * outputs;
  if (depthwise) for (let channel = 0; channel < inputs; channel++) values[middle + channel * outputs] = gain;
  else for (let out = 0; out < outputs; out++) values[middle + (out % inputs) * outputs + out] = gain;
  return tfc.tensor(values, shape);
}
