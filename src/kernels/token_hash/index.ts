/**
 * Signed hashing of tokens as operations: tokens → codes ±(bucket + 1), and the two linear maps that codes define, each other's transpose.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, NamedTensorMap, Tensor } from '@tensorflow/tfjs-core';
import './host_kernels.js';
import './webgl_kernels.js';
import './webgpu_kernels.js';
import { BUCKET_GATHER, BUCKET_SUM, HASH_TOKENS, type BucketSumAttrs, type HashTokensAttrs } from './names.js';

const run = (name: string, inputs: Record<string, Tensor>, attrs: object = {}): Tensor => {
  if (tfc.getKernel(name, tfc.getBackend()) == null) {
    throw new Error(`tfjs-weight-sharing: hashing tokens has no kernel for the backend '${tfc.getBackend()}'. It has them for cpu, wasm, tensorflow, webgl and webgpu.`);
  }
  return tfc.engine().runKernel(name, inputs as unknown as NamedTensorMap, attrs as NamedAttrMap);
};

/**
 * Codes of `tokens` [rows, length] (int32 or float32 integers, or strings): float32 of the same shape, ±(bucket + 1), and 0 for a token
 * that is not counted. Not counted are `paddingValue` and the empty string; on webgl and webgpu also what is no integer within ±(2²⁴ − 1).
 * @throws Error on cpu, wasm and tensorflow for a token that is no integer within ±(2²⁴ − 1).
 */
export const tokenCodes = (tokens: Tensor, attrs: HashTokensAttrs): Tensor => run(HASH_TOKENS, { tokens }, attrs);

/**
 * y[r, i] = Σ_j ±w[r, j] over the tokens j of row r whose bucket is i; w = 1 without `weights`. codes and weights [rows, length] →
 * [rows, outputDim]. Linear in the weights and differentiable in them as often as wanted.
 */
export const bucketSum = (codes: Tensor, weights: Tensor | null, outputDim: number): Tensor =>
  run(BUCKET_SUM, weights === null ? { codes } : { codes, weights }, { outputDim });

/** w[r, j] = ±y[r, bucket of token j], 0 for a token that is not counted: the transpose of {@link bucketSum}, and its gradient. */
export const bucketGather = (codes: Tensor, values: Tensor): Tensor => run(BUCKET_GATHER, { codes, values }, { outputDim: values.shape[1] });

// Somebody who differentiates a model with respect to all of its inputs finds that tokens and codes have no slope.
const noSlope = (x: Tensor) => () => tfc.zeros(x.shape);

tfc.registerGradient({
  kernelName: HASH_TOKENS,
  gradFunc: (dy) => ({ tokens: noSlope(dy as Tensor) }),
});
tfc.registerGradient({
  kernelName: BUCKET_SUM,
  inputsToSave: ['codes'],
  gradFunc: (dy, [codes]) => ({ weights: () => bucketGather(codes, dy as Tensor), codes: noSlope(codes) }),
});
tfc.registerGradient({
  kernelName: BUCKET_GATHER,
  inputsToSave: ['codes'],
  gradFunc: (dy, [codes], attrs) => ({
    values: () => bucketSum(codes, dy as Tensor, (attrs as unknown as BucketSumAttrs).outputDim),
    codes: noSlope(codes),
  }),
});
