/** The options that hashed layers share, their checks, and what of them a file holds. */
import type { serialization } from '@tensorflow/tfjs-core';
import { checkBoolean, checkNumber, describe, integerAtLeast, POSITIVE } from '../checks.js';
import { HASH_VERSION } from '../kernels/hashed_weights/hash.js';
import { checkSeed } from '../kernels/hashed_weights/matrix.js';

export interface HashedArgs {
  /**
   * Virtual weights per stored one, any number ≥ 1. 1 stores every weight and hashes nothing: a plain layer. Give this or `buckets`;
   * neither where the stored weights are those of a shared bank.
   */
  compression?: number;
  /** Number of stored weights, from 1 to the number of virtual ones. */
  buckets?: number;
  /**
   * [rows, columns] of the tiles that are hashed as one, over the virtual weights as a matrix [inputs, outputs]. Default [1, 1]: each weight
   * is hashed, as in HashedNets, which is the most accurate and the slowest. [1, 64] or [32, 32] costs little more time than a plain layer.
   */
  tile?: [number, number];
  /** Chooses the hash; saved with the model. An integer in [0, 2³²). Default 0. Layers on one bank must each be given one of their own. */
  seed?: number;
  /** Give each tile a sign, by a bit of its hash: inner products are then unbiased. Default true. */
  signHash?: boolean;
  /**
   * Factor of the gradient of the stored weights. Each is the sum over the weights that share it, so that its steps are about `compression`
   * times a plain layer's with plain SGD; 1 / compression makes up for that. Adam and its like do so by themselves. Default 1.
   */
  gradientScaling?: number;
  /**
   * With a bank: what its numbers are multiplied by here (ROAST's λ). Default: the standard deviation that `kernelInitializer` asks
   * for, over {@link BANK_DEVIATION}, that of a bank's initial numbers.
   */
  bankScale?: number;
  /** Version of the hash. 1 is the only one. */
  hashVersion?: number;
}

export const HASHED_OPTIONS = ['compression', 'buckets', 'tile', 'seed', 'signHash', 'gradientScaling', 'bankScale', 'hashVersion'] as const;

/** Standard deviation of the initial numbers of a bank, unless it is given another initializer. */
export const BANK_DEVIATION = 0.05;

export interface HashedOptions {
  readonly compression?: number;
  readonly buckets?: number;
  readonly tile: readonly [number, number];
  readonly seed: number;
  /** Whether `seed` was given. */
  readonly seedGiven: boolean;
  readonly signHash: boolean;
  readonly gradientScaling: number;
  readonly bankScale?: number;
}

const AT_LEAST_1 = integerAtLeast(1);

/** Options as far as they can be checked before the layer knows its input. */
export function checkHashedOptions(who: string, args: HashedArgs): HashedOptions {
  const { compression, buckets, tile = [1, 1], seed = 0, signHash = true, gradientScaling = 1, bankScale, hashVersion = HASH_VERSION } = args;
  if (hashVersion !== HASH_VERSION) {
    throw new Error(`${who}: hashVersion must be ${HASH_VERSION}, got ${describe(hashVersion)}. These weights were hashed by another version of tfjs-weight-sharing: load them with that one.`);
  }
  if (compression !== undefined) {
    checkNumber(who, 'compression', compression, { expected: '≥ 1', holds: (x) => x >= 1 }, 'Use compression: 1 for a plain layer.');
  }
  if (buckets !== undefined) checkNumber(who, 'buckets', buckets, AT_LEAST_1, 'It is the number of stored weights.');
  if (compression !== undefined && buckets !== undefined) {
    throw new Error(`${who}: give compression or buckets, not both: got compression ${compression} and buckets ${buckets}.`);
  }
  if (!Array.isArray(tile) || tile.length !== 2) throw new Error(`${who}: tile must be [rows, columns], got ${describe(tile)}.`);
  tile.forEach((size, axis) => checkNumber(who, `tile[${axis}]`, size, AT_LEAST_1));
  return {
    ...(compression !== undefined && { compression }),
    ...(buckets !== undefined && { buckets }),
    tile: [tile[0], tile[1]],
    seed: checkSeed(who, seed),
    seedGiven: args.seed !== undefined,
    signHash: checkBoolean(who, 'signHash', signHash),
    gradientScaling: checkNumber(who, 'gradientScaling', gradientScaling, POSITIVE),
    ...(bankScale !== undefined && {
      bankScale: checkNumber(who, 'bankScale', bankScale, { expected: 'a finite number other than 0', holds: (x) => x !== 0 }),
    }),
  };
}

/** For `getConfig`: what {@link checkHashedOptions} takes. */
export function hashedConfig({ seedGiven: _seedGiven, tile, ...options }: HashedOptions): serialization.ConfigDict {
  return { ...options, tile: [...tile], hashVersion: HASH_VERSION };
}

/** The number of stored weights of a layer of its own, for `rows` × `columns` virtual ones. */
export function resolveBuckets(who: string, { compression, buckets, tile }: HashedOptions, rows: number, columns: number): number {
  const virtual = rows * columns;
  if (compression === undefined && buckets === undefined) {
    throw new Error(`${who}: give compression (virtual weights per stored one, e.g. compression: 16) or buckets (the number of stored weights).`);
  }
  if (buckets !== undefined && buckets > virtual) {
    throw new Error(`${who}: buckets must be at most the number of virtual weights, ${rows} × ${columns} = ${virtual}, got ${buckets}. Use compression: 1 for a plain layer.`);
  }
  const stored = buckets ?? Math.max(1, Math.round(virtual / compression!));
  if (stored < virtual) checkTile(who, tile, rows, columns, stored);
  return stored;
}

/** @throws Error if a tile does not fit into the virtual matrix or into what is stored. */
export function checkTile(who: string, tile: readonly [number, number], rows: number, columns: number, stored: number): void {
  if (tile[0] > rows || tile[1] > columns) {
    throw new Error(`${who}: tile must fit into the virtual matrix of ${rows} × ${columns}, got [${tile.join(', ')}].`);
  }
  if (tile[0] * tile[1] > stored) {
    throw new Error(`${who}: a tile of [${tile.join(', ')}] takes ${tile[0] * tile[1]} stored weights, and there are ${stored}. Make the tile smaller or store more.`);
  }
}
