/**
 * Numbers of tokens as int32, looked at where that costs nothing: on cpu, wasm and tensorflow a number that is no token is an error; on
 * other backends, which cannot look without a stall, it becomes −1, which no table has a row for.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { KernelBackend, KernelFunc, NamedAttrMap, NamedTensorMap, Tensor, TensorInfo } from '@tensorflow/tfjs-core';
import { describe } from '../../checks.js';
import { filledOnHost, HOST_BACKENDS, hostValues } from '../host_memory.js';

/** ids → ids as int32, of the same shape. */
const TOKEN_IDS = 'TokenIds';

export interface TokenIdsAttrs {
  /** Number of tokens: they are 0 … count − 1. */
  count: number;
  /** A number that stands for no token and becomes −1. */
  ignore?: number;
  /** Who asks and what the numbers are, e.g. `tied_embedding_1: token ids`. */
  who: string;
  /** How to mend it. */
  fix: string;
}

/** Whether {@link tokenIds} refuses what is no token, so that every −1 stands for `ignore`. */
export const areTokensChecked = (): boolean => tfc.getKernel(TOKEN_IDS, tfc.getBackend()) != null;

/**
 * `ids` (int32 or float32) as int32 of the same shape: a token in [0, count) as it is; `ignore` as −1.
 * @throws Error on cpu, wasm and tensorflow where a number is neither (elsewhere it becomes −1), for another dtype, or float32 where
 * there are more tokens than it tells apart.
 */
export function tokenIds(ids: Tensor, attrs: TokenIdsAttrs): Tensor {
  const { who, count } = attrs;
  if (ids.dtype !== 'int32' && ids.dtype !== 'float32') {
    throw new Error(`${who} must be of dtype int32 or float32, got ${ids.dtype}. Use tf.cast(ids, 'int32').`);
  }
  if (ids.dtype === 'float32' && count > 2 ** 24) {
    throw new Error(`${who}: float32 does not tell integers beyond 2²⁴ = 16777216 apart, and there are ${count}. Give them as int32: tf.input({shape, dtype: 'int32'}).`);
  }
  if (areTokensChecked()) return tfc.engine().runKernel(TOKEN_IDS, { ids } as unknown as NamedTensorMap, attrs as unknown as NamedAttrMap);
  return tfc.customGrad((given) => ({ value: compared(given as Tensor, attrs), gradFunc: () => tfc.zerosLike(given as Tensor) }))(ids);
}

/** By operations of the host. */
function compared(ids: Tensor, { count, ignore }: TokenIdsAttrs): Tensor {
  const scalar = (value: number) => tfc.scalar(value, ids.dtype);
  const whole = tfc.cast(ids, 'int32');
  const conditions = [tfc.greaterEqual(ids, scalar(0)), tfc.less(ids, scalar(count))];
  if (ids.dtype === 'float32') conditions.push(tfc.equal(ids, tfc.cast(whole, 'float32')));
  if (ignore !== undefined) conditions.push(tfc.notEqual(ids, scalar(ignore)));
  return tfc.where(conditions.reduce((a, b) => tfc.logicalAnd(a, b)), whole, tfc.fill(whole.shape, -1, 'int32'));
}

const look: KernelFunc = ({ inputs, backend, attrs }) => {
  const { ids } = inputs as unknown as { ids: TensorInfo };
  const { count, ignore, who, fix } = attrs as unknown as TokenIdsAttrs;
  const isToken = (id: number) => id >= 0 && id < count && (id | 0) === id;
  const given = hostValues(backend as KernelBackend, ids);
  const wrong = given.findIndex((id) => id !== ignore && !isToken(id));
  if (wrong >= 0) throw new Error(`${who} must be integers from 0 to ${count - 1}, got ${describe(given[wrong])} at position ${wrong} of the batch. ${fix}`);
  return filledOnHost(backend as KernelBackend, [ids], { shape: ids.shape, dtype: 'int32' }, (out, values) => {
    for (let i = 0; i < values.length; i++) out[i] = values[i] === ignore ? -1 : values[i];
  });
};

for (const backendName of HOST_BACKENDS) {
  // Another copy of this package in the same page may have been here.
  if (tfc.getKernel(TOKEN_IDS, backendName) == null) tfc.registerKernel({ kernelName: TOKEN_IDS, backendName, kernelFunc: look });
}

// Somebody who differentiates a model with respect to its inputs finds that numbers of rows have no slope.
tfc.registerGradient({ kernelName: TOKEN_IDS, gradFunc: (dy) => ({ ids: () => tfc.zeros((dy as Tensor).shape) }) });
