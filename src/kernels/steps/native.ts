/**
 * `Step` of the tensorflow backend, by which the host multiplies in the gradient of every ReLU: seven operations over the tensor there, two fills
 * among them, which takes longer than the convolution before it. Two do.
 */
import { getKernel } from '@tensorflow/tfjs-core';
import type { KernelBackend, KernelFunc, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import { replaceKernel } from '../mending.js';

const BACKEND = 'tensorflow';

/** 1 above 0, else 0; NaN stays: the positive part of the sign. */
const signStep = (stock: KernelFunc): KernelFunc => (args) => {
  const { x } = args.inputs as unknown as { x: TensorInfo };
  const { alpha } = args.attrs as unknown as { alpha?: number };
  const [sign, relu] = ['Sign', 'Relu'].map((name) => getKernel(name, BACKEND)?.kernelFunc);
  if (sign === undefined || relu === undefined || (alpha ?? 0) !== 0 || x.dtype !== 'float32') return stock(args);
  const backend = args.backend as KernelBackend;
  const run = (kernel: KernelFunc, inputs: NamedTensorInfoMap) => kernel({ inputs, backend, attrs: {} }) as TensorInfo;
  const signs = run(sign, { x });
  const steps = run(relu, { x: signs });
  backend.disposeData(signs.dataId);
  return steps;
};

/** Puts it in place of the tensorflow backend's, where that is imported, and names what it replaced. */
export const registerSteps = (): string[] => replaceKernel('Step', BACKEND, signStep);
