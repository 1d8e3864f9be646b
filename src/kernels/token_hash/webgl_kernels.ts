/** The kernels as WebGL 2 shaders; the hash is computed there. */
import { registerKernel, type DataType, type KernelBackend, type TensorInfo } from '@tensorflow/tfjs-core';
import { LARGEST_TOKEN } from './code.js';
import { hashStrings } from './host_kernels.js';
import {
  BUCKET_GATHER, BUCKET_SUM, HASH_TOKENS, type BucketGatherInputs, type BucketSumAttrs, type BucketSumInputs, type HashTokensAttrs, type HashTokensInputs,
} from './names.js'; // prettier-ignore

interface Program {
  variableNames: string[];
  outputShape: number[];
  userCode: string;
  customUniforms?: Array<{ name: string; type: 'int' | 'float' }>;
}

/** What is used of `MathBackendWebGL`. */
interface WebGLBackend extends KernelBackend {
  runWebGLProgram(program: Program, inputs: TensorInfo[], dtype: DataType, uniforms?: number[][]): TensorInfo;
}

const backendName = 'webgl';

const hashProgram = (outputShape: number[], { paddingValue, signHash }: HashTokensAttrs): Program => ({
  variableNames: ['Tokens'],
  outputShape,
  customUniforms: [
    { name: 'seed', type: 'int' },
    { name: 'buckets', type: 'int' },
    { name: 'padding', type: 'float' },
  ],
  userCode: `
    uint xxHash32(uint token, uint start) {
      uint h = start + 0x165667b1u + 4u + token * 0xc2b2ae3du;
      h = ((h << 17) | (h >> 15)) * 0x27d4eb2fu;
      h = (h ^ (h >> 15)) * 0x85ebca77u;
      h = (h ^ (h >> 13)) * 0xc2b2ae3du;
      return h ^ (h >> 16);
    }
    // The high word of hash · buckets, from products of 16 bits each.
    uint bucketOf(uint hash, uint n) {
      uint low = (hash >> 16) * (n & 0xffffu) + (((hash & 0xffffu) * (n & 0xffffu)) >> 16);
      uint middle = (hash & 0xffffu) * (n >> 16) + (low & 0xffffu);
      return (hash >> 16) * (n >> 16) + (low >> 16) + (middle >> 16);
    }
    void main() {
      ivec2 at = getOutputCoords();
      float token = getTokens(at.x, at.y);
      float code = 0.0;
      if (abs(token) <= ${LARGEST_TOKEN}.0 && floor(token) == token${paddingValue === null ? '' : ' && token != padding'}) {
        uint hash = xxHash32(uint(int(token)), uint(seed));
        code = float(bucketOf(hash, uint(buckets)) + 1u);
        ${signHash ? 'if ((hash & 1u) == 1u) code = -code;' : ''}
      }
      setOutput(code);
    }`,
});

const sumProgram = (codes: TensorInfo, outputDim: number, weighted: boolean): Program => ({
  variableNames: weighted ? ['Codes', 'Weights'] : ['Codes'],
  outputShape: [codes.shape[0], outputDim],
  userCode: `
    void main() {
      ivec2 at = getOutputCoords();
      float bucket = float(at.y + 1);
      float sum = 0.0;
      for (int j = 0; j < ${codes.shape[1]}; j++) {
        float code = getCodes(at.x, j);
        if (abs(code) == bucket) sum += sign(code)${weighted ? ' * getWeights(at.x, j)' : ''};
      }
      setOutput(sum);
    }`,
});

const gatherProgram = (outputShape: number[]): Program => ({
  variableNames: ['Codes', 'Values'],
  outputShape,
  userCode: `
    void main() {
      ivec2 at = getOutputCoords();
      float code = getCodes(at.x, at.y);
      setOutput(code == 0.0 ? 0.0 : sign(code) * getValues(at.x, int(abs(code)) - 1));
    }`,
});

registerKernel({
  kernelName: HASH_TOKENS,
  backendName,
  kernelFunc: ({ inputs, backend, attrs }) => {
    const { tokens } = inputs as unknown as HashTokensInputs;
    const hash = attrs as unknown as HashTokensAttrs;
    if (tokens.dtype === 'string') return hashStrings(backend as KernelBackend, tokens, hash);
    const uniforms = [[hash.seed | 0], [hash.outputDim], [hash.paddingValue ?? 0]];
    return (backend as WebGLBackend).runWebGLProgram(hashProgram(tokens.shape, hash), [tokens], 'float32', uniforms);
  },
});

registerKernel({
  kernelName: BUCKET_SUM,
  backendName,
  kernelFunc: ({ inputs, backend, attrs }) => {
    const { codes, weights } = inputs as unknown as BucketSumInputs;
    const { outputDim } = attrs as unknown as BucketSumAttrs;
    const given = weights === undefined ? [codes] : [codes, weights];
    return (backend as WebGLBackend).runWebGLProgram(sumProgram(codes, outputDim, weights !== undefined), given, 'float32');
  },
});

registerKernel({
  kernelName: BUCKET_GATHER,
  backendName,
  kernelFunc: ({ inputs, backend }) => {
    const { codes, values } = inputs as unknown as BucketGatherInputs;
    return (backend as WebGLBackend).runWebGLProgram(gatherProgram(codes.shape), [codes, values], 'float32');
  },
});
