/**
 * The hash that says which stored number stands where in a hashed matrix. It is part of the file format: a model file holds the
 * stored numbers and the seed, so nothing here may change its results without a new {@link HASH_VERSION}.
 *
 * xxHash32 (Y. Collet, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) of the pair (row of tiles, column of tiles) as
 * two little-endian 32-bit words: six multiplications, two of them once a row, and 32-bit operations only, so that typed-array loops,
 * WebAssembly, GLSL and WGSL compute it exactly.
 *
 * - Bucket: the high word of hash · buckets (multiply-shift). Each bucket gets ⌊2³²/K⌋ or ⌈2³²/K⌉ of the 2³² hashes, for any K, as
 *   with a modulo, without the division that is slow in loops and shaders. It reads the hash from its highest bit down.
 * - Sign: the lowest bit of the same hash. Within a bucket the hashes are an interval, in which that bit alternates: given the bucket,
 *   both signs are equally likely to 1 in 2³²/K. A second hash would cost twice the time for nothing.
 */

/** Version of the mapping from (position, seed, buckets) to stored number and sign. */
export const HASH_VERSION = 1;

/** Buckets beyond which the lowest bit of a hash is no longer independent of its bucket. */
export const MAX_BUCKETS = 2 ** 31 - 1;

export const PRIME_1 = 0x9e3779b1 | 0;
export const PRIME_2 = 0x85ebca77 | 0;
export const PRIME_3 = 0xc2b2ae3d | 0;
export const PRIME_4 = 0x27d4eb2f | 0;
export const PRIME_5 = 0x165667b1 | 0;

const rotl = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

/** Takes one little-endian 32-bit word in. */
const takeWord = (h: number, word: number): number => Math.imul(rotl((h + Math.imul(word, PRIME_3)) | 0, 17), PRIME_4);

function avalanche(h: number): number {
  h = Math.imul(h ^ (h >>> 15), PRIME_2);
  h = Math.imul(h ^ (h >>> 13), PRIME_3);
  return h ^ (h >>> 16);
}

/** The part of {@link hashPair} that is the same for a whole row. */
export const hashRow = (row: number, seed: number): number => takeWord((seed + PRIME_5 + 8) | 0, row);

/** {@link hashPair} from the row's part; an int32 (use `>>> 0` for the unsigned value). */
export const hashInRow = (rowHash: number, column: number): number => avalanche(takeWord(rowHash, column));

/** xxHash32 of the eight bytes of (row, column), little-endian, as an unsigned number. All three are taken modulo 2³². */
export const hashPair = (row: number, column: number, seed: number): number => hashInRow(hashRow(row, seed), column) >>> 0;

/** ⌊hash · buckets / 2³²⌋, exactly, for an int32 or unsigned hash and 1 ≤ buckets ≤ {@link MAX_BUCKETS}. */
export function bucketOf(hash: number, buckets: number): number {
  const high = hash >>> 16;
  const low = hash & 0xffff;
  // Each product is below 2⁴⁸, hence exact; ⌊(a·2¹⁶ + b) / 2³²⌋ = ⌊(a + ⌊b / 2¹⁶⌋) / 2¹⁶⌋.
  return Math.floor((high * buckets + Math.floor((low * buckets) / 65536)) / 65536);
}

/** −1 or 1. */
export const signOf = (hash: number): number => 1 - ((hash & 1) << 1);

/** xxHash32 of any bytes, as an unsigned number. */
export function xxHash32(bytes: Uint8Array, seed = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length;
  let at = 0;
  let h: number;
  if (length >= 16) {
    const lanes = [seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1].map((lane) => lane | 0);
    for (; at + 16 <= length; at += 16) {
      for (let lane = 0; lane < 4; lane++) {
        const word = view.getUint32(at + 4 * lane, true);
        lanes[lane] = Math.imul(rotl((lanes[lane] + Math.imul(word, PRIME_2)) | 0, 13), PRIME_1);
      }
    }
    h = (rotl(lanes[0], 1) + rotl(lanes[1], 7) + rotl(lanes[2], 12) + rotl(lanes[3], 18)) | 0;
  } else {
    h = (seed + PRIME_5) | 0;
  }
  h = (h + length) | 0;
  for (; at + 4 <= length; at += 4) h = takeWord(h, view.getUint32(at, true));
  for (; at < length; at++) h = Math.imul(rotl((h + Math.imul(bytes[at], PRIME_5)) | 0, 11), PRIME_1);
  return avalanche(h) >>> 0;
}
