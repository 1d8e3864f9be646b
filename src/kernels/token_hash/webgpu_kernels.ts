/** The kernels as WebGPU shaders; the hash is computed there. */
import { registerKernel, type DataType, type KernelBackend, type TensorInfo } from '@tensorflow/tfjs-core';
import { LARGEST_TOKEN } from './code.js';
import { hashStrings } from './host_kernels.js';
import {
  BUCKET_GATHER, BUCKET_SUM, HASH_TOKENS, type BucketGatherInputs, type BucketSumAttrs, type BucketSumInputs, type HashTokensAttrs, type HashTokensInputs,
} from './names.js'; // prettier-ignore

interface Program {
  variableNames: string[];
  outputShape: number[];
  shaderKey: string;
  dispatchLayout: { x: number[] };
  dispatch: [number, number, number];
  workgroupSize: [number, number, number];
  size: true;
  uniforms?: string;
  getUserCode(): string;
}

/** What is used of `WebGPUBackend`. */
interface WebGPUBackend extends KernelBackend {
  runWebGPUProgram(program: Program, inputs: TensorInfo[], dtype: DataType, uniforms?: Array<{ type: 'int32' | 'float32'; data: number[] }>): TensorInfo;
}

const backendName = 'webgpu';
const WORKGROUP = 64;

/** One invocation per output; `body` sets `result` of output (row, column) = (at.x, at.y). */
function program(shaderKey: string, variableNames: string[], outputShape: number[], body: string, more: { uniforms?: string; functions?: string } = {}): Program {
  return {
    variableNames,
    outputShape,
    // Programs of one key share a pipeline.
    shaderKey: `tfws_${shaderKey}`,
    dispatchLayout: { x: outputShape.map((_, axis) => axis) },
    dispatch: [Math.ceil((outputShape[0] * outputShape[1]) / WORKGROUP), 1, 1],
    workgroupSize: [WORKGROUP, 1, 1],
    size: true,
    uniforms: more.uniforms,
    getUserCode: () => `
      ${more.functions ?? ''}
      fn main(index : i32) {
        if (index >= uniforms.size) { return; }
        let at = getCoordsFromIndex(index);
        ${body}
      }`,
  };
}

const hashProgram = (outputShape: number[], { paddingValue, signHash }: HashTokensAttrs): Program =>
  program(`hash_tokens_${paddingValue !== null}_${signHash}`, ['tokens'], outputShape, `
    let token = getTokens(at.x, at.y);
    var code = 0.0;
    if (abs(token) <= ${LARGEST_TOKEN}.0 && floor(token) == token${paddingValue === null ? '' : ' && token != uniforms.padding'}) {
      let hash = xxHash32(bitcast<u32>(i32(token)), bitcast<u32>(uniforms.seed));
      code = f32(bucketOf(hash, u32(uniforms.buckets)) + 1u);
      ${signHash ? 'if ((hash & 1u) == 1u) { code = -code; }' : ''}
    }
    setOutputAtIndex(index, code);`, {
    uniforms: 'seed : i32, buckets : i32, padding : f32,',
    functions: `
      fn xxHash32(token : u32, start : u32) -> u32 {
        var h = start + 0x165667b1u + 4u + token * 0xc2b2ae3du;
        h = ((h << 17u) | (h >> 15u)) * 0x27d4eb2fu;
        h = (h ^ (h >> 15u)) * 0x85ebca77u;
        h = (h ^ (h >> 13u)) * 0xc2b2ae3du;
        return h ^ (h >> 16u);
      }
      // The high word of hash · buckets, from products of 16 bits each.
      fn bucketOf(hash : u32, n : u32) -> u32 {
        let low = (hash >> 16u) * (n & 0xffffu) + (((hash & 0xffffu) * (n & 0xffffu)) >> 16u);
        let middle = (hash & 0xffffu) * (n >> 16u) + (low & 0xffffu);
        return (hash >> 16u) * (n >> 16u) + (low >> 16u) + (middle >> 16u);
      }`,
  }); // prettier-ignore

const sumProgram = (codes: TensorInfo, outputDim: number, weighted: boolean): Program =>
  program(`bucket_sum_${weighted}`, weighted ? ['codes', 'weights'] : ['codes'], [codes.shape[0], outputDim], `
    let bucket = f32(at.y + 1);
    var sum = 0.0;
    for (var j = 0; j < uniforms.codesShape.y; j++) {
      let code = getCodes(at.x, j);
      if (abs(code) == bucket) { sum += sign(code)${weighted ? ' * getWeights(at.x, j)' : ''}; }
    }
    setOutputAtIndex(index, sum);`); // prettier-ignore

const gatherProgram = (outputShape: number[]): Program =>
  program('bucket_gather', ['codes', 'values'], outputShape, `
    let code = getCodes(at.x, at.y);
    var value = 0.0;
    if (code != 0.0) { value = sign(code) * getValues(at.x, i32(abs(code)) - 1); }
    setOutputAtIndex(index, value);`); // prettier-ignore

registerKernel({
  kernelName: HASH_TOKENS,
  backendName,
  kernelFunc: ({ inputs, backend, attrs }) => {
    const { tokens } = inputs as unknown as HashTokensInputs;
    const hash = attrs as unknown as HashTokensAttrs;
    if (tokens.dtype === 'string') return hashStrings(backend as KernelBackend, tokens, hash);
    return (backend as WebGPUBackend).runWebGPUProgram(hashProgram(tokens.shape, hash), [tokens], 'float32', [
      { type: 'int32', data: [hash.seed | 0] },
      { type: 'int32', data: [hash.outputDim] },
      { type: 'float32', data: [hash.paddingValue ?? 0] },
    ]);
  },
});

registerKernel({
  kernelName: BUCKET_SUM,
  backendName,
  kernelFunc: ({ inputs, backend, attrs }) => {
    const { codes, weights } = inputs as unknown as BucketSumInputs;
    const { outputDim } = attrs as unknown as BucketSumAttrs;
    const given = weights === undefined ? [codes] : [codes, weights];
    return (backend as WebGPUBackend).runWebGPUProgram(sumProgram(codes, outputDim, weights !== undefined), given, 'float32');
  },
});

registerKernel({
  kernelName: BUCKET_GATHER,
  backendName,
  kernelFunc: ({ inputs, backend }) => {
    const { codes, values } = inputs as unknown as BucketGatherInputs;
    return (backend as WebGPUBackend).runWebGPUProgram(gatherProgram(codes.shape), [codes, values], 'float32');
  },
});
