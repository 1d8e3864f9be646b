/** Where a token goes: a bucket and a sign in one number, which float32 holds exactly. Part of every saved model that hashes tokens. */

import { bucketOf, hashInRow, PRIME_5, signOf, xxHash32 } from '../hashed_weights/hash.js';

export interface TokenHash {
  /** Number of buckets, 1 … {@link MOST_BUCKETS}. */
  outputDim: number;
  /** Unsigned 32-bit integer. */
  seed: number;
  /** Whether half of the tokens count negatively; otherwise every sign is +1. */
  signHash: boolean;
}

/** A code is ±(bucket + 1), and 2²⁴ is the last of the consecutive integers in float32. */
export const MOST_BUCKETS = 2 ** 24 - 1;
/** Integer tokens lie within ± this: beyond it float32 (all that a webgl texture holds) would merge neighbours. */
export const LARGEST_TOKEN = 2 ** 24 - 1;

const code = (hash: number, { outputDim, signHash }: TokenHash): number => (signHash ? signOf(hash) : 1) * (bucketOf(hash, outputDim) + 1);

/** ±(bucket + 1) of an integer token, hashed by xxHash32 as four bytes, little-endian two's complement. */
export const codeOfInteger = (token: number, hash: TokenHash): number => code(hashInRow((hash.seed + PRIME_5 + 4) | 0, token), hash);

/** ±(bucket + 1) of a string token, given as UTF-8 and hashed by xxHash32. */
export const codeOfBytes = (token: Uint8Array, hash: TokenHash): number => code(xxHash32(token, hash.seed), hash);
