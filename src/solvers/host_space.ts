/** Vectors in one memory of this process, for backends whose tensors can be read at once: each evaluation of f is read, each iterate uploaded. */
import * as tfc from '@tensorflow/tfjs-core';
import type { KernelBackend, Tensor } from '@tensorflow/tfjs-core';
import { announceRead, tensorMark } from '../autodiff/tape.js';
import { hostValues } from '../kernels/host_memory.js';
import { affineWeights } from './affine_weights.js';
import { hostScalars, type Numbers } from './host_scalars.js';
import { checkImage, layoutOf, type Layout, type Ring, type Scalars, type Space, type StateMap } from './space.js';
import { scriptLoops, wasmLoops, type VectorLoops } from './vector_loops.js';

/** A vector: an address in the memory, and tensors of the same values where there are some. */
export class HostVector {
  holds = 0;
  freed = false;
  constructor(
    readonly address: number,
    public tensors: Tensor[] | null,
  ) {}
}

// The head of the memory: addresses of rows, weights, results. None is used across calls.
const TABLE = 0;
const MOST_ROWS = 2048;
const WEIGHTS = 4 * MOST_ROWS;
const RESULTS = WEIGHTS + 8 * MOST_ROWS;
const HEAD = RESULTS + 8 * MOST_ROWS;
/** A memory that is larger than this is given back when no solve is under way. */
const KEPT_BYTES = 2 ** 26;

/** Solves may nest (an equilibrium inside of another's f), and end in the reverse order: each takes its vectors from the end of the memory. */
let loops: VectorLoops | null = null;
let end = HEAD;

let most = HEAD;

/** Most bytes that solves on this kind of backend have used at once, beside tensors, while `f` ran. */
export function peakHostBytes(f: () => void): number {
  most = end;
  f();
  return most;
}

export class HostSpace implements Space<HostVector, Numbers, Numbers> {
  readonly batch: number;
  readonly looking = 'free';
  readonly scalars: Scalars<Numbers>;
  readonly #layout: Layout;
  readonly #loops: VectorLoops;
  readonly #start: number;
  readonly #bytes: number;
  readonly #free: number[] = [];
  readonly #live = new Set<HostVector>();
  #scope: HostVector[] | null = null;
  #used = 0;

  constructor(
    readonly who: string,
    z0: readonly Tensor[],
  ) {
    this.#layout = layoutOf(who, z0);
    this.batch = this.#layout.batch;
    this.scalars = hostScalars(this.batch);
    this.#loops = loops ??= wasmLoops() ?? scriptLoops();
    this.#start = end;
    this.#bytes = Math.ceil((4 * this.batch * this.#layout.width) / 16) * 16;
  }

  get bytes(): number {
    return this.#used;
  }

  scope(body: () => void): void {
    const outer = this.#scope;
    const made: HostVector[] = (this.#scope = []);
    try {
      body();
    } finally {
      this.#scope = outer;
      for (const v of made) if (v.holds === 0) this.#drop(v);
    }
  }

  hold<X extends HostVector | Numbers>(x: X): X {
    if (x instanceof HostVector) x.holds++;
    return x;
  }

  release(x: HostVector | Numbers): void {
    if (x instanceof HostVector && --x.holds === 0) this.#drop(x);
  }

  exchange<X extends HostVector | Numbers>(before: X, next: X): X {
    if (before === next) return next;
    this.hold(next);
    this.release(before);
    return next;
  }

  load(z: readonly Tensor[]): HostVector {
    const v = this.#make(z.map((tensor) => tfc.clone(tensor)));
    this.#copyIn(v, z.map((tensor) => tensor.dataSync() as Float32Array)); // prettier-ignore
    return v;
  }

  tensors(v: HostVector): Tensor[] {
    return this.#tensorsOf(v).map((tensor) => tfc.clone(tensor));
  }

  evaluate(f: StateMap, z: HostVector): HostVector {
    const given = this.#tensorsOf(z);
    const mark = tensorMark();
    const image: unknown = tfc.tidy(() => f(given));
    checkImage(this.who, image, this.#layout);
    // What f did not make, or names twice, is not ours to dispose of.
    const own = image.map((tensor, i) => (tensor.id < mark || image.indexOf(tensor) < i ? tfc.clone(tensor) : tensor));
    const v = this.#make(own);
    const backend = tfc.backend() as KernelBackend;
    // This may be part of a function that is being traced.
    own.forEach(announceRead);
    this.#copyIn(v, own.map((tensor) => (tensor.id < mark ? tensor.dataSync() : hostValues(backend, tensor)) as Float32Array)); // prettier-ignore
    return v;
  }

  distance(z: HostVector, f: HostVector, difference: boolean) {
    const g = difference ? this.#make(null) : null;
    const norm = new Float64Array(this.batch);
    const size = new Float64Array(this.batch);
    this.#eachSample((sample, segments) => {
      const results = this.#results(2);
      for (const { offset, length } of segments) this.#loops.distance(z.address + offset, f.address + offset, g === null ? 0 : g.address + offset, length, RESULTS);
      norm[sample] = Math.sqrt(results[0]);
      size[sample] = Math.sqrt(results[1]);
    });
    return { difference: g, norm, size };
  }

  dot(a: HostVector, b: HostVector): Numbers {
    return this.dots([a], b);
  }

  /** Dot products of each row with `v`: [batch, rows]. */
  dots(rows: readonly HostVector[], v: HostVector): Numbers {
    const out = new Float64Array(this.batch * rows.length);
    this.#setTable(rows);
    this.#eachSample((sample, segments) => {
      const results = this.#results(rows.length);
      for (const { offset, length } of segments) this.#loops.dots(TABLE, rows.length, v.address, offset, length, RESULTS);
      out.set(results, sample * rows.length);
    });
    return out;
  }

  sum(...terms: [factor: Numbers | number, v: HostVector][]): HostVector {
    const factors = terms.map(([factor]) => factor);
    return this.weightedSum(terms.map(([, v]) => v), (sample, weights) => {
      factors.forEach((factor, j) => (weights[j] = typeof factor === 'number' ? factor : factor[sample]));
    }, factors.every((factor) => typeof factor === 'number')); // prettier-ignore
  }

  /** Σ weight · row, with the weights that `fill` writes for each sample; `same`: they are the same for all. */
  weightedSum(rows: readonly HostVector[], fill: (sample: number, weights: Float64Array) => void, same = false): HostVector {
    const out = this.#make(null);
    this.#setTable(rows);
    const weights = this.#loops.doubles().subarray(WEIGHTS / 8, WEIGHTS / 8 + rows.length);
    if (same) {
      fill(0, weights);
      this.#loops.sum(TABLE, rows.length, WEIGHTS, out.address, 0, this.batch * this.#layout.width);
      return out;
    }
    this.#eachSample((sample, segments) => {
      fill(sample, weights);
      for (const { offset, length } of segments) this.#loops.sum(TABLE, rows.length, WEIGHTS, out.address, offset, length);
    });
    return out;
  }

  select(condition: Numbers, a: HostVector, b: HostVector): HostVector {
    const chosen = condition.reduce((count, value) => count + (value !== 0 ? 1 : 0), 0);
    if (chosen === this.batch || a === b) return a;
    if (chosen === 0) return b;
    const out = this.#make(null);
    const values = this.#loops.floats();
    this.#eachSample((sample, segments) => {
      const from = condition[sample] !== 0 ? a : b;
      for (const { offset, length } of segments) {
        const start = (from.address + offset) >> 2;
        values.copyWithin((out.address + offset) >> 2, start, start + length);
      }
    });
    return out;
  }

  ring(capacity: number): HostRing {
    return new HostRing(this, capacity);
  }

  any(mask: Numbers): boolean {
    return mask.some((value) => value !== 0);
  }

  read(values: readonly Numbers[]) {
    const now = [...values];
    return { now, later: () => Promise.resolve(now), dispose: () => {} };
  }

  /** The values of `rows` as one tensor [batch, rows, width]. */
  matrix(rows: readonly HostVector[]): Tensor {
    const { width } = this.#layout;
    const values = new Float32Array(this.batch * rows.length * width);
    const memory = this.#loops.floats();
    this.#eachSample((sample, segments) => {
      rows.forEach(({ address }, j) => {
        let to = (sample * rows.length + j) * width;
        for (const { offset, length } of segments) {
          const start = (address + offset) >> 2;
          values.set(memory.subarray(start, start + length), to);
          to += length;
        }
      });
    });
    return tfc.tensor(values, [this.batch, rows.length, width]);
  }

  dispose(): void {
    for (const v of this.#live) this.#drop(v);
    end = this.#start;
    if (end === HEAD && this.#loops.floats().byteLength > KEPT_BYTES) loops = null;
  }

  #make(tensors: Tensor[] | null): HostVector {
    let address = this.#free.pop();
    if (address === undefined) {
      address = end;
      this.#loops.reserve(end + this.#bytes);
      end += this.#bytes;
      most = Math.max(most, end);
      this.#used = Math.max(this.#used, end - this.#start);
    }
    const v = new HostVector(address, tensors);
    this.#live.add(v);
    this.#scope?.push(v);
    return v;
  }

  #drop(v: HostVector): void {
    if (v.freed) return;
    v.freed = true;
    this.dropTensors(v);
    this.#free.push(v.address);
    this.#live.delete(v);
  }

  /** Leaves a vector its values only. */
  dropTensors(v: HostVector): void {
    if (v.tensors !== null) tfc.dispose(v.tensors);
    v.tensors = null;
  }

  #copyIn({ address }: HostVector, parts: readonly Float32Array[]): void {
    let to = address >> 2;
    for (const part of parts) {
      this.#loops.floats().set(part, to);
      to += part.length;
    }
  }

  #tensorsOf(v: HostVector): Tensor[] {
    if (v.tensors !== null) return v.tensors;
    const values = this.#loops.floats();
    let start = v.address >> 2;
    v.tensors = this.#layout.shapes.map((shape, i) => {
      const stop = start + this.batch * this.#layout.widths[i];
      // A copy: backends may read it later than now.
      const tensor = tfc.tensor(values.slice(start, stop), shape, 'float32');
      start = stop;
      return tensor;
    });
    return v.tensors;
  }

  #results(count: number): Float64Array {
    return this.#loops.doubles().subarray(RESULTS / 8, RESULTS / 8 + count).fill(0);
  }

  #setTable(rows: readonly HostVector[]): void {
    if (rows.length > MOST_ROWS) throw new Error(`${this.who}: a window of at most ${MOST_ROWS - 1} is possible.`);
    const table = this.#loops.integers();
    rows.forEach(({ address }, j) => (table[TABLE / 4 + j] = address));
  }

  /** Calls `body` with the byte offsets and lengths at which a sample's parts lie. */
  #eachSample(body: (sample: number, segments: readonly { offset: number; length: number }[]) => void): void {
    const { widths } = this.#layout;
    const segments = widths.map((length) => ({ offset: 0, length }));
    widths.reduce((start, width, part) => {
      segments[part].offset = 4 * start;
      return start + this.batch * width;
    }, 0);
    for (let sample = 0; sample < this.batch; sample++) {
      body(sample, segments);
      for (const segment of segments) segment.offset += 4 * segment.length;
    }
  }
}

class HostRing implements Ring<HostVector, Numbers, Numbers> {
  readonly #space: HostSpace;
  readonly #capacity: number;
  readonly #rows: HostVector[] = [];
  #newest = -1;
  /** Dot products of the rows with each other: [batch, capacity, capacity], from {@link affineWeights} on. */
  #gram: Float64Array | null = null;
  /** Samples that must not use a row: [batch, capacity]. */
  #left: Uint8Array | null = null;

  constructor(space: HostSpace, capacity: number) {
    this.#space = space;
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#rows.length;
  }

  push(v: HostVector): void {
    this.#space.hold(v);
    this.#space.dropTensors(v);
    this.#newest = (this.#newest + 1) % this.#capacity;
    const oldest = this.#rows[this.#newest];
    if (oldest !== undefined) this.#space.release(oldest);
    this.#rows[this.#newest] = v;
    if (this.#left !== null) for (let b = 0; b < this.#space.batch; b++) this.#left[b * this.#capacity + this.#newest] = 0;
  }

  dots(v: HostVector): Numbers {
    return this.#space.dots(this.#rows, v);
  }

  sum(weights: Numbers, factor: number, base?: HostVector, baseFactor = 1): HostVector {
    const n = this.#rows.length;
    const rows = base === undefined ? this.#rows : [...this.#rows, base];
    return this.#space.weightedSum(rows, (sample, out) => {
      for (let j = 0; j < n; j++) out[j] = factor * weights[sample * n + j];
      if (base !== undefined) out[n] = baseFactor;
    });
  }

  affineWeights(ridge: number): { weights: Numbers; unsolved: Numbers } {
    const { batch } = this.#space;
    const [n, order, newest] = [this.#rows.length, this.#capacity, this.#newest];
    const row = this.dots(this.#rows[newest]);
    const gram = (this.#gram ??= new Float64Array(batch * order * order));
    const weights = new Float64Array(batch * n);
    const unsolved = new Float64Array(batch);
    const all = this.#rows.map((_, j) => j);
    for (let b = 0; b < batch; b++) {
      const own = gram.subarray(b * order * order, (b + 1) * order * order);
      for (let j = 0; j < n; j++) own[newest * order + j] = own[j * order + newest] = row[b * n + j];
      const left = this.#left;
      const usable = left === null ? all : all.filter((j) => left[b * order + j] === 0);
      const solved = affineWeights(own, order, usable, newest, ridge, weights.subarray(b * n, (b + 1) * n));
      if (!solved) unsolved[b] = 1;
    }
    return { weights, unsolved };
  }

  forget(mask: Numbers): void {
    if (!this.#space.any(mask)) return;
    const left = (this.#left ??= new Uint8Array(this.#space.batch * this.#capacity));
    mask.forEach((value, b) => {
      if (value !== 0) left.fill(1, b * this.#capacity, (b + 1) * this.#capacity);
    });
  }

  matrix(): Tensor {
    return this.#space.matrix(this.#rows);
  }

  clear(): void {
    this.#rows.splice(0).forEach((v) => this.#space.release(v));
  }
}
