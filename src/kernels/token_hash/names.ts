/** The kernels of this folder: what they are given and what they answer. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { TokenHash } from './code.js';

/** tokens [rows, length] → codes [rows, length], float32. */
export const HASH_TOKENS = 'HashTokens';
export interface HashTokensInputs {
  tokens: TensorInfo;
}
export interface HashTokensAttrs extends TokenHash {
  /** Who is at fault in an error. */
  who: string;
  /** An integer token that is not counted, or null. */
  paddingValue: number | null;
}

/** codes, weights [rows, length] → [rows, outputDim]; every weight is 1 where there are none. */
export const BUCKET_SUM = 'SignedBucketSum';
export interface BucketSumInputs {
  codes: TensorInfo;
  weights?: TensorInfo;
}
export interface BucketSumAttrs {
  outputDim: number;
}

/** codes [rows, length], values [rows, outputDim] → [rows, length]; the same attributes. */
export const BUCKET_GATHER = 'SignedBucketGather';
export interface BucketGatherInputs {
  codes: TensorInfo;
  values: TensorInfo;
}
