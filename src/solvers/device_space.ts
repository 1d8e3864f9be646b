/**
 * Vectors as tensors [batch, width], for GPUs: every decision per sample is a mask, and nothing is read unless somebody looks. A ring is one
 * tensor [batch, capacity, width]; small systems are solved by elimination on [batch, capacity, capacity].
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Looking } from './looking.js';
import { checkImage, layoutOf, type Layout, type Numbers, type Ring, type Scalars, type Space, type StateMap } from './space.js';

/** Holds are counted: the best iterate may be the current one. */
export class DeviceVector {
  holds = 0;
  constructor(readonly tensor: Tensor) {}
}

type Value = DeviceVector | Tensor;
const tensorOf = (x: Value): Tensor => (x instanceof DeviceVector ? x.tensor : x);

export class DeviceSpace implements Space<DeviceVector, Tensor, Tensor> {
  readonly batch: number;
  readonly scalars: Scalars<Tensor>;
  readonly bytes = 0;
  readonly #layout: Layout;
  readonly #held = new Set<Tensor>();

  constructor(
    readonly who: string,
    z0: readonly Tensor[],
    readonly looking: Looking,
  ) {
    this.#layout = layoutOf(who, z0);
    this.batch = this.#layout.batch;
    this.scalars = deviceScalars(this.batch);
  }

  scope(body: () => void): void {
    tfc.tidy(body);
  }

  hold<X extends Value>(x: X): X {
    if (x instanceof DeviceVector) x.holds++;
    this.#held.add(tfc.keep(tensorOf(x)));
    return x;
  }

  release(x: Value): void {
    if (x instanceof DeviceVector && --x.holds > 0) return;
    const tensor = tensorOf(x);
    this.#held.delete(tensor);
    tensor.dispose();
  }

  exchange<X extends Value>(before: X, next: X): X {
    if (before === next) return next;
    this.hold(next);
    this.release(before);
    return next;
  }

  load(z: readonly Tensor[]): DeviceVector {
    return new DeviceVector(tfc.tidy(() => tfc.clone(this.#flat(z))));
  }

  tensors(v: DeviceVector): Tensor[] {
    return tfc.tidy(() => {
      const { shapes, widths } = this.#layout;
      const parts = widths.length === 1 ? [v.tensor] : tfc.split(v.tensor, widths, 1);
      return parts.map((part, i) => tfc.reshape(part, shapes[i]));
    });
  }

  evaluate(f: StateMap, z: DeviceVector): DeviceVector {
    return new DeviceVector(
      tfc.tidy(() => {
        const image: unknown = f(this.tensors(z));
        checkImage(this.who, image, this.#layout);
        return tfc.clone(this.#flat(image));
      }),
    );
  }

  distance(z: DeviceVector, f: DeviceVector, difference: boolean) {
    const g = tfc.sub(f.tensor, z.tensor);
    const [norm, size] = [g, f.tensor].map((x) => tfc.sqrt(tfc.sum(tfc.square(x), 1, true)));
    return { difference: difference ? new DeviceVector(g) : null, norm, size };
  }

  dot(a: DeviceVector, b: DeviceVector): Tensor {
    return tfc.sum(tfc.mul(a.tensor, b.tensor), 1, true);
  }

  sum(...terms: [factor: Tensor | number, v: DeviceVector][]): DeviceVector {
    const scaled = terms.map(([factor, { tensor }]) => (factor === 1 ? tensor : tfc.mul(tensor, factor)));
    return new DeviceVector(scaled.length === 1 ? tfc.clone(scaled[0]) : scaled.reduce((a, b) => tfc.add(a, b)));
  }

  select(condition: Tensor, a: DeviceVector, b: DeviceVector): DeviceVector {
    return a === b ? a : new DeviceVector(tfc.where(tfc.cast(condition, 'bool'), a.tensor, b.tensor));
  }

  ring(capacity: number): DeviceRing {
    return new DeviceRing(this, capacity, this.#layout.width);
  }

  any(mask: Tensor): boolean {
    if (this.looking === 'never') throw new Error(`${this.who}: this backend cannot be looked at inside of a step.`);
    return tfc.tidy(() => tfc.max(mask).dataSync()[0] !== 0);
  }

  read(values: readonly Tensor[]): Numbers {
    const count = values.length;
    const packed = tfc.tidy(() => tfc.keep(tfc.concat(values as tfc.Tensor2D[], 1)));
    let [awaited, unwanted] = [false, false];
    return {
      now: null,
      later: async () => {
        awaited = true;
        await Promise.resolve();
        const numbers = await packed.data().finally(() => {
          awaited = false;
          if (unwanted) packed.dispose();
        });
        return Array.from({ length: count }, (_, j) => Float64Array.from({ length: this.batch }, (_, b) => numbers[b * count + j]));
      },
      dispose: () => {
        unwanted = true;
        if (!awaited) packed.dispose();
      },
    };
  }

  dispose(): void {
    for (const tensor of this.#held) tensor.dispose();
    this.#held.clear();
  }

  #flat(parts: readonly Tensor[]): Tensor {
    const flat = parts.map((part) => tfc.reshape(part, [this.batch, -1]));
    return flat.length === 1 ? flat[0] : tfc.concat(flat as tfc.Tensor2D[], 1);
  }
}

class DeviceRing implements Ring<DeviceVector, Tensor, Tensor> {
  length = 0;
  readonly #space: DeviceSpace;
  readonly #capacity: number;
  /** [batch, capacity, width]; slots that were not pushed to are 0. */
  #rows: Tensor;
  /** Slots that a sample may use in affineWeights: [batch, capacity]. */
  #usable: Tensor;
  #newest = -1;

  constructor(space: DeviceSpace, capacity: number, width: number) {
    this.#space = space;
    this.#capacity = capacity;
    this.#rows = space.hold(tfc.zeros([space.batch, capacity, width]));
    this.#usable = space.hold(tfc.zeros([space.batch, capacity]));
  }

  push(v: DeviceVector): void {
    this.#newest = (this.#newest + 1) % this.#capacity;
    this.length = Math.min(this.length + 1, this.#capacity);
    const slot = this.#slot();
    this.#rows = this.#space.exchange(this.#rows, tfc.where(tfc.cast(tfc.reshape(slot, [1, -1, 1]), 'bool'), tfc.expandDims(v.tensor, 1), this.#rows));
    this.#usable = this.#space.exchange(this.#usable, tfc.maximum(this.#usable, slot));
  }

  dots(v: DeviceVector): Tensor {
    return tfc.squeeze(tfc.matMul(this.#rows, tfc.expandDims(v.tensor, 2)), [2]);
  }

  sum(weights: Tensor, factor: number, base?: DeviceVector, baseFactor = 1): DeviceVector {
    const combined = tfc.squeeze(tfc.matMul(tfc.expandDims(weights, 1), this.#rows), [1]);
    const scaled = factor === 1 ? combined : tfc.mul(combined, factor);
    return new DeviceVector(base === undefined ? scaled : tfc.add(scaled, baseFactor === 1 ? base.tensor : tfc.mul(base.tensor, baseFactor)));
  }

  /** As `affineWeights`, by Gauss–Jordan elimination of all samples at once. */
  affineWeights(ridge: number): { weights: Tensor; unsolved: Tensor } {
    const order = this.#capacity;
    const slot = this.#slot();
    const own = tfc.slice(this.#rows, [0, this.#newest, 0], [-1, 1, -1]);
    // Differences to the newest, to unit length; 0 where a slot has none.
    const others = tfc.mul(this.#usable, tfc.sub(1, slot));
    const differences = tfc.mul(tfc.sub(this.#rows, own), tfc.expandDims(others, 2));
    const squared: Tensor = tfc.sum(tfc.square(differences), 2);
    const lengths = tfc.sqrt(squared);
    const scale = tfc.where(tfc.greater(squared, tfc.mul(1e-12, tfc.sum(tfc.square(own), 2))), tfc.div(1, tfc.maximum(lengths, 1e-30)), tfc.zerosLike(lengths));
    const units = tfc.mul(differences, tfc.expandDims(scale, 2));
    const right = tfc.neg(tfc.matMul(units, own, false, true));
    const y = this.#eliminate(tfc.matMul(units, units, false, true), right, ridge, order);
    const gamma = tfc.mul(tfc.squeeze(y, [2]), scale);
    const solved = tfc.less(tfc.sum(tfc.abs(gamma), 1, true), 1e6);
    const safe = tfc.where(solved, gamma, tfc.zerosLike(gamma));
    const weights = tfc.add(safe, tfc.mul(slot, tfc.sub(1, tfc.sum(safe, 1, true))));
    return { weights, unsolved: tfc.sub(1, tfc.cast(solved, 'float32')) };
  }

  /** x with (C + ridge·I) x = right; rows of C that are 0 give x = 0. C [batch, n, n] has a unit diagonal elsewhere: no pivoting is needed. */
  #eliminate(C: Tensor, right: Tensor, ridge: number, n: number): Tensor {
    const identity = tfc.eye(n);
    // Empty rows get a 1 on the diagonal.
    const diagonal = tfc.sum(tfc.mul(C, identity), 2, true);
    const filled = tfc.add(C, tfc.mul(identity, tfc.add(ridge, tfc.cast(tfc.less(diagonal, 0.5), 'float32'))));
    let rows: Tensor = tfc.concat([filled as tfc.Tensor3D, right as tfc.Tensor3D], 2);
    for (let k = 0; k < n; k++) {
      const pivotRow = tfc.slice(rows, [0, k, 0], [-1, 1, -1]);
      const scaled = tfc.div(pivotRow, tfc.slice(pivotRow, [0, 0, k], [-1, -1, 1]));
      const column = tfc.sub(tfc.slice(rows, [0, 0, k], [-1, -1, 1]), tfc.slice(identity, [0, k], [-1, 1]));
      rows = tfc.sub(rows, tfc.mul(column, scaled));
    }
    return tfc.slice(rows, [0, 0, n], [-1, -1, 1]);
  }

  forget(mask: Tensor): void {
    this.#usable = this.#space.exchange(this.#usable, tfc.mul(this.#usable, tfc.sub(1, mask)));
  }

  matrix(): Tensor {
    return tfc.clone(this.#rows);
  }

  clear(): void {
    this.#space.release(this.#rows);
    this.#space.release(this.#usable);
  }

  /** 1 at the newest slot, [capacity]. */
  #slot(): Tensor {
    return tfc.cast(tfc.oneHot(tfc.scalar(this.#newest, 'int32'), this.#capacity), 'float32');
  }
}

function deviceScalars(batch: number): Scalars<Tensor> {
  return {
    fill: (value) => tfc.fill([batch, 1], value),
    add: (a, b) => tfc.add(a, b),
    sub: (a, b) => tfc.sub(a, b),
    mul: (a, b) => tfc.mul(a, b),
    div: (a, b) => tfc.div(a, b),
    abs: (a) => tfc.abs(a),
    sqrt: (a) => tfc.sqrt(a),
    less: (a, b) => tfc.cast(tfc.less(a, b), 'float32'),
    not: (a) => tfc.sub(1, a),
    where: (condition, a, b) => {
      const full = (value: Tensor | number) => (typeof value === 'number' ? tfc.fill([batch, 1], value) : value);
      return tfc.where(tfc.cast(condition, 'bool'), full(a), full(b));
    },
  };
}
