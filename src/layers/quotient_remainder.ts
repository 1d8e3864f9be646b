/**
 * Rows of a large virtual table from two small ones: row i is a row numbered ⌊i / c⌋ combined with one numbered i mod c, different for every i.
 * Shi, Mudigere, Naumov & Yang, "Compositional Embeddings Using Complementary Partitions", KDD 2020.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import type { Initializer } from '../host.js';
import { gatherRows } from '../kernels/segment_sum/index.js';
import type { VirtualWeights } from './hashed_weights.js';
import { meantDeviation, virtualInitializer } from './virtual_fan.js';

export const COMBINATIONS = ['multiply', 'add', 'concat'] as const;
export type Combination = (typeof COMBINATIONS)[number];

/** Sizes of the two tables, in rows. */
export interface Split {
  quotients: number;
  /** c: the number of remainders. */
  remainders: number;
}

/**
 * The largest two tables for `count` rows that together have at most `budget` rows. The table of remainders is the larger one, c ≥ √count:
 * where small numbers stand for frequent tokens, these have rows of it to themselves. Null if even c = √count needs more.
 */
export function splitRows(count: number, budget: number): Split | null {
  const total = (remainders: number) => Math.ceil(count / remainders) + remainders;
  let least = Math.ceil(Math.sqrt(count));
  if (total(least) > budget) return null;
  // From √count on, the total does not fall.
  for (let most = count; least < most; ) {
    const middle = Math.ceil((least + most) / 2);
    if (total(middle) <= budget) least = middle;
    else most = middle - 1;
  }
  return { quotients: Math.ceil(count / least), remainders: least };
}

/** What the numbers of an initializer are multiplied by in both tables, so that combined rows have the spread that it means. */
function spread(combination: Combination, deviation: number | null): number {
  if (combination === 'add') return Math.SQRT1_2;
  return combination === 'multiply' && deviation !== null && deviation > 0 ? 1 / Math.sqrt(deviation) : 1;
}

/** What a layer adds as a weight. */
export interface PlannedWeight {
  name: string;
  shape: number[];
  initializer: Initializer;
}

/** The two tables, as one weight [quotients + remainders, width], quotients first; a layer owns it. */
export class QuotientRemainder {
  readonly #who: string;
  readonly #combination: Combination;
  #split: Split | null = null;

  constructor(who: string, combination: Combination) {
    this.#who = who;
    this.#combination = combination;
  }

  /** The weight that holds the tables for `weights.rows` ids, of at most `budget` numbers. */
  plan({ rows: count, columns, initializer, ...fans }: Pick<VirtualWeights, 'rows' | 'columns' | 'initializer' | 'fanIn' | 'fanOut'>, budget: number): PlannedWeight {
    if (this.#combination === 'concat' && columns % 2 !== 0) {
      throw new Error(`${this.#who}: outputDim must be even for quotientRemainder: 'concat', whose halves come from the two tables, got ${columns}.`);
    }
    if (this.#combination === 'multiply' && initializer.getClassName() === 'Zeros') {
      throw new Error(`${this.#who}: embeddingsInitializer 'zeros' never learns with quotientRemainder: 'multiply', as the gradient of 0 · 0 is 0. Use 'randomUniform'.`);
    }
    const width = this.#combination === 'concat' ? columns / 2 : columns;
    const split = splitRows(count, Math.floor(budget / width));
    if (split === null) {
      const least = Math.ceil(Math.sqrt(count));
      const smallest = (Math.ceil(count / least) + least) * width;
      const compression = Math.floor((10 * count * columns) / smallest) / 10;
      throw new Error(
        `${this.#who}: the two tables for ${count} ids hold at least ${smallest} numbers, and ${budget} are allowed. ` +
          (compression < 1 ? 'Use an embedding.' : `Use a compression of at most ${compression}, or hash chunks (leave quotientRemainder out).`),
      );
    }
    this.#split = split;
    const drawn = virtualInitializer(this.#who, initializer, fans);
    const factor = spread(this.#combination, meantDeviation(initializer, fans));
    return {
      // The number of remainders stands in the name, by which the host's loader finds weights: tables of another split are refused.
      name: `quotient_remainder${split.remainders}`,
      shape: [split.quotients + split.remainders, width],
      initializer: { apply: (shape, dtype) => tfc.tidy(() => tfc.mul(drawn.apply(shape, dtype), factor)) } as Pick<Initializer, 'apply'> as Initializer,
    };
  }

  /** Rows of the virtual table, [ids.length, columns], zeros for the id −1. `table` is the weight that was planned; ids are below its count. */
  rows(ids: Tensor1D, table: Tensor): Tensor2D {
    if (this.#split === null) throw new Error(`${this.#who}: not built yet. Apply the layer to an input first.`);
    const { quotients, remainders } = this.#split;
    const integer = (value: number) => tfc.scalar(value, 'int32');
    // Of −1, the quotient is −1 too, which names no row; the remainder would be one.
    const quotient = tfc.floorDiv(ids, integer(remainders));
    const remainder = tfc.add(tfc.sub(ids, tfc.mul(quotient, integer(remainders))), integer(quotients));
    const [q, r] = [quotient, tfc.where(tfc.less(ids, integer(0)), ids, remainder)].map((row) => gatherRows(table, row));
    if (this.#combination === 'concat') return tfc.concat([q, r], 1) as Tensor2D;
    return (this.#combination === 'add' ? tfc.add(q, r) : tfc.mul(q, r)) as Tensor2D;
  }
}
