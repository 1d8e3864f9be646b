/**
 * The weights of a hashed layer: one stored array, its own or a bank's that several layers share, seen as a virtual matrix. A layer owns one
 * of these, builds it and reads it.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { DataId, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { activeTape } from '../autodiff/tape.js';
import { variableOf, type Constraint, type Initializer, type Layer, type LayerVariable, type Regularizer } from '../host.js';
import { HASH_VERSION } from '../kernels/hashed_weights/hash.js';
import { expandHashed, forgetHashed, type HashedMatrix } from '../kernels/hashed_weights/index.js';
import { gatherRows } from '../kernels/segment_sum/index.js';
import { addWeightTo, shownNumbers } from './bank_weight.js';
import { BANK_DEVIATION, checkTile, resolveBuckets, type HashedOptions } from './hashed_options.js';
import { meantDeviation, virtualInitializer, type Fans } from './virtual_fan.js';

/** What a layer knows when it is built. */
export interface VirtualWeights extends Fans {
  /** Of the virtual matrix; of `shape` the last axis is `columns`, the product of the others `rows`. */
  rows: number;
  columns: number;
  initializer: Initializer;
  regularizer: Regularizer | null;
  constraint: Constraint | null;
  /** What the virtual weights look like to an initializer where nothing is hashed. Default [rows, columns]. */
  shape?: number[];
}

/**
 * What names the hash in the name of a stored weight: the host's loader finds weights by name, so that weights of another seed, tile, sign
 * or version are refused without an extra weight that would say so.
 */
export const hashIdentity = ({ seed, tile, signHash }: Pick<HashedOptions, 'seed' | 'tile' | 'signHash'>): string =>
  `hashed_v${HASH_VERSION}_seed${seed}_tile${tile.join('x')}_${signHash ? 'signed' : 'unsigned'}`;

const IDENTITY = /hashed_v\d+_seed\d+_tile\d+x\d+_(?:un)?signed/;

export class HashedWeights {
  readonly #who: string;
  readonly #options: HashedOptions;
  #matrix: HashedMatrix | null = null;
  #stored: LayerVariable | null = null;
  /** Nothing is hashed: there is a stored weight for each virtual one. */
  #plain = false;
  /** The virtual matrix of the last call without gradients, and the stored numbers that it was drawn from. */
  #cached: { from: DataId; matrix: Tensor2D } | null = null;

  constructor(who: string, options: HashedOptions) {
    this.#who = who;
    this.#options = options;
  }

  /** Adds the stored weights to `layer`; null if they are a bank's, of `bankLength` numbers. */
  build(layer: Layer, weights: VirtualWeights, bankLength?: number): LayerVariable | null {
    const { rows, columns, initializer, regularizer, constraint } = weights;
    const { tile, seed, signHash: signed } = this.#options;
    const base = { rows, columns, tile, seed, signed };
    if (bankLength !== undefined) {
      this.#checkBanked(weights);
      checkTile(this.#who, tile, rows, columns, bankLength);
      this.#matrix = { ...base, scale: this.#bankScale(weights) };
      return null;
    }
    const buckets = resolveBuckets(this.#who, this.#options, rows, columns);
    if (this.#options.bankScale !== undefined) throw new Error(`${this.#who}: bankScale is for a layer that is applied to [input, bank].`);
    this.#matrix = base;
    this.#plain = buckets === rows * columns;
    const drawn: Pick<Initializer, 'apply'> = this.#plain
      ? { apply: (_shape, dtype) => tfc.tidy(() => tfc.reshape(initializer.apply(weights.shape ?? [rows, columns], dtype), [buckets])) }
      : virtualInitializer(this.#who, initializer, weights);
    const name = this.#plain ? 'kernel' : hashIdentity(this.#options);
    this.#stored = addWeightTo(layer, name, [buckets], 'float32', drawn as Initializer, regularizer, true, constraint);
    if (!this.#plain) this.#refuseOthers(layer, this.#stored);
    return this.#stored;
  }

  /**
   * The virtual matrix [rows, columns]. While gradients are recorded it is drawn from the stored weights; otherwise it is kept until they
   * change, and belongs to this object: not to be disposed.
   *
   * @param bank [bankLength], where the stored weights are a bank's.
   */
  matrix(bank?: Tensor): Tensor2D {
    const { rows, columns } = this.#built();
    const stored = this.#storedTensor(bank);
    if (this.#plain) return tfc.reshape(this.#scaled(stored), [rows, columns]);
    const from = shownNumbers(stored);
    if (this.#cached !== null && this.#cached.from !== from) this.#dropCached();
    if (activeTape() !== null) return expandHashed(this.#scaled(stored), this.#built());
    // A variable gets other data whenever it is assigned to; the data's identity is held here and cannot come again.
    this.#cached ??= { from, matrix: tfc.keep(expandHashed(stored, this.#built())) };
    return this.#cached.matrix;
  }

  /** Rows of the virtual matrix, [ids.length, columns], without the others; zeros for a number that names no row. */
  rows(ids: Tensor1D, bank?: Tensor): Tensor2D {
    const { rows, columns } = this.#built();
    const stored = this.#scaled(this.#storedTensor(bank));
    if (this.#plain) return gatherRows(tfc.reshape(stored, [rows, columns]), ids) as Tensor2D;
    return expandHashed(stored, this.#built(), ids);
  }

  /** Frees the kept matrix and what kernels keep. */
  dispose(): void {
    this.#dropCached();
    if (this.#matrix !== null) forgetHashed(this.#matrix);
  }

  #built(): HashedMatrix {
    if (this.#matrix === null) throw new Error(`${this.#who}: not built yet. Apply the layer to an input first.`);
    return this.#matrix;
  }

  #storedTensor(bank?: Tensor): Tensor1D {
    return (this.#stored === null ? bank : variableOf(this.#stored)) as Tensor1D;
  }

  /** The same numbers, with the scaled gradient. */
  #scaled(stored: Tensor1D): Tensor1D {
    const factor = this.#options.gradientScaling;
    if (factor === 1 || activeTape() === null) return stored;
    return tfc.customGrad((x) => ({ value: tfc.clone(x as Tensor), gradFunc: (dy: Tensor) => tfc.mul(dy, factor) }))(stored) as Tensor1D;
  }

  #dropCached(): void {
    this.#cached?.matrix.dispose();
    this.#cached = null;
  }

  #checkBanked({ regularizer, constraint }: VirtualWeights): void {
    const { compression, buckets, seedGiven } = this.#options;
    if (compression !== undefined || buckets !== undefined) {
      throw new Error(`${this.#who}: the bank holds the stored weights; leave compression and buckets out of a layer that is applied to [input, bank].`);
    }
    if (!seedGiven) throw new Error(`${this.#who}: give each layer on a bank a seed of its own (seed: 1, seed: 2, …), or layers of one shape would share every weight.`);
    if (regularizer !== null || constraint !== null) {
      throw new Error(`${this.#who}: the bank owns the stored weights; give the regularizer or constraint to hashedBank.`);
    }
  }

  #bankScale(weights: VirtualWeights): number {
    if (this.#options.bankScale !== undefined) return this.#options.bankScale;
    const deviation = meantDeviation(weights.initializer, weights);
    if (deviation !== null && deviation > 0) return deviation / BANK_DEVIATION;
    throw new Error(`${this.#who}: the spread that kernelInitializer '${weights.initializer.getClassName()}' means is not known; give bankScale, the factor of the bank's numbers.`);
  }

  /** Values that carry a name (those of another layer's `getWeights()`) must be of the same hash. */
  #refuseOthers(layer: Layer, stored: LayerVariable): void {
    const expected = hashIdentity(this.#options);
    const write = stored.write.bind(stored);
    stored.write = (value) => {
      const found = IDENTITY.exec((value as { name?: string }).name ?? '')?.[0];
      if (found !== undefined && found !== expected) {
        throw new Error(`${this.#who}: layer '${layer.name}' cannot take weights of another hash: it expects '${expected}', got '${found}'. Make it with the same seed, tile and signHash.`);
      }
      return write(value);
    };
  }
}
