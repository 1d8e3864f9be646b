/** The kernels where tensors live in this process (cpu, wasm, tensorflow), and for strings, which live here on every backend. */
import { registerKernel, type KernelBackend, type TensorInfo } from '@tensorflow/tfjs-core';
import { describe } from '../../checks.js';
import { filledOnHost, HOST_BACKENDS, hostValues, sizeOf } from '../host_memory.js';
import { codeOfBytes, codeOfInteger, LARGEST_TOKEN } from './code.js';
import {
  BUCKET_GATHER, BUCKET_SUM, HASH_TOKENS, type BucketGatherInputs, type BucketSumAttrs, type BucketSumInputs, type HashTokensAttrs, type HashTokensInputs,
} from './names.js'; // prettier-ignore

const FLOAT = 'float32' as const;

/** Codes of string tokens; no backend has those on a device. */
export function hashStrings(backend: KernelBackend, { dataId, shape }: TensorInfo, attrs: HashTokensAttrs): TensorInfo {
  const strings = backend.readSync(dataId) as unknown as Uint8Array[];
  const codes = Float32Array.from(strings, (bytes) => (bytes.length === 0 ? 0 : codeOfBytes(bytes, attrs)));
  return { dataId: backend.write(codes, shape, FLOAT), shape, dtype: FLOAT };
}

function hashInteger(token: number, attrs: HashTokensAttrs): number {
  if (token === attrs.paddingValue) return 0;
  if (Number.isInteger(token) && Math.abs(token) <= LARGEST_TOKEN) return codeOfInteger(token, attrs);
  throw new Error(
    `${attrs.who}: tokens must be integers within ±${LARGEST_TOKEN} (2²⁴ − 1, which float32 holds exactly), got ${describe(token)}. ` +
      'Hash others beforehand with hashTokens, or give them as strings.',
  );
}

function hashIntegers(backend: KernelBackend, tokens: TensorInfo, attrs: HashTokensAttrs): TensorInfo {
  // Not `filledOnHost`: a token that is refused must leave no half-made tensor behind.
  const codes = new Float32Array(sizeOf(tokens));
  const values = hostValues(backend, tokens);
  for (let i = 0; i < codes.length; i++) codes[i] = hashInteger(values[i], attrs);
  return { dataId: backend.write(codes, tokens.shape, FLOAT), shape: tokens.shape, dtype: FLOAT };
}

for (const backendName of HOST_BACKENDS) {
  registerKernel({
    kernelName: HASH_TOKENS,
    backendName,
    kernelFunc: ({ inputs, backend, attrs }) => {
      const { tokens } = inputs as unknown as HashTokensInputs;
      const hash = attrs as unknown as HashTokensAttrs;
      if (tokens.dtype === 'string') return hashStrings(backend as KernelBackend, tokens, hash);
      return hashIntegers(backend as KernelBackend, tokens, hash);
    },
  });

  registerKernel({
    kernelName: BUCKET_SUM,
    backendName,
    kernelFunc: ({ inputs, backend, attrs }) => {
      const { codes, weights } = inputs as unknown as BucketSumInputs;
      const { outputDim } = attrs as unknown as BucketSumAttrs;
      const [rows, length] = codes.shape;
      const given = weights === undefined ? [codes] : [codes, weights];
      return filledOnHost(backend as KernelBackend, given, { shape: [rows, outputDim], dtype: FLOAT }, (sums, c, w) => {
        sums.fill(0);
        for (let row = 0, at = 0; row < rows; row++) {
          const base = row * outputDim - 1;
          for (const end = at + length; at < end; at++) {
            const code = c[at];
            const weight = weights === undefined ? 1 : w[at];
            if (code > 0) sums[base + code] += weight;
            else if (code < 0) sums[base - code] -= weight;
          }
        }
      });
    },
  });

  registerKernel({
    kernelName: BUCKET_GATHER,
    backendName,
    kernelFunc: ({ inputs, backend }) => {
      const { codes, values } = inputs as unknown as BucketGatherInputs;
      const [rows, length] = codes.shape;
      const buckets = values.shape[1];
      return filledOnHost(backend as KernelBackend, [codes, values], { shape: codes.shape, dtype: FLOAT }, (gathered, c, y) => {
        for (let row = 0, at = 0; row < rows; row++) {
          const base = row * buckets - 1;
          for (const end = at + length; at < end; at++) {
            const code = c[at];
            gathered[at] = code > 0 ? y[base + code] : code < 0 ? -y[base - code] : 0;
          }
        }
      });
    },
  });
}
