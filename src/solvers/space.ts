/**
 * What solvers compute with: batched vectors V (one per sample: the state, flattened), numbers per sample S, and small rows of weights per
 * sample W. Methods are written once against this; `host_space.ts` computes in this process's memory, `device_space.ts` in tensors.
 */
import { add, type Tensor } from '@tensorflow/tfjs-core';
import type { Looking } from './looking.js';

/** z ↦ f(z) on a list of float32 tensors, whose first axis is the batch (a tensor of rank 0 is one sample). */
export type StateMap = (z: Tensor[]) => Tensor[];

/** Numbers per sample, and truth values as 0 and 1. */
export interface Scalars<S> {
  fill(value: number): S;
  add(a: S | number, b: S | number): S;
  sub(a: S | number, b: S | number): S;
  mul(a: S | number, b: S | number): S;
  div(a: S | number, b: S | number): S;
  abs(a: S): S;
  sqrt(a: S): S;
  /** a < b; false where one is NaN. */
  less(a: S | number, b: S | number): S;
  not(a: S): S;
  where(condition: S, a: S | number, b: S | number): S;
}

/** The last vectors of a sequence; rows of weights refer to their slots, which two rings that are pushed to in step share. */
export interface Ring<V, S, W> {
  /** How many vectors it holds. */
  readonly length: number;
  /** Adds a vector, and lets go of the oldest if it is full. */
  push(v: V): void;
  /** The dot products of `v` with each. */
  dots(v: V): W;
  /** factor · Σ_j weights_j r_j (+ baseFactor · base). */
  sum(weights: W, factor: number, base?: V, baseFactor?: number): V;
  /**
   * Weights α, Σ α = 1, of least ‖Σ α_j r_j‖² per sample, with `ridge` relative to the squared lengths of the differences to the newest; and
   * where that could not be solved: the newest alone.
   */
  affineWeights(ridge: number): { weights: W; unsolved: S };
  /** Leaves all but the next vectors out of {@link affineWeights}, for the samples where `mask` is 1. */
  forget(mask: S): void;
  /** All of them as one tensor [batch, length, width] of the caller's. */
  matrix(): Tensor;
  /** Lets go of all of them, for good. */
  clear(): void;
}

export interface Space<V, S, W> {
  readonly batch: number;
  readonly scalars: Scalars<S>;
  /** Runs `body` and frees the vectors and numbers made in it, except those held. */
  scope(body: () => void): void;
  hold<X extends V | S>(x: X): X;
  release(x: V | S): void;
  /** Holds `next` in the place of `before`. */
  exchange<X extends V | S>(before: X, next: X): X;
  load(z: readonly Tensor[]): V;
  /** A copy of the state as tensors of their own shapes, the caller's to dispose of. */
  tensors(v: V): Tensor[];
  /** f(z). @throws Error if its shapes or dtypes are not the state's. */
  evaluate(f: StateMap, z: V): V;
  /** ‖f − z‖ and ‖f‖ per sample; with `difference`, f − z too. */
  distance(z: V, f: V, difference: boolean): { difference: V | null; norm: S; size: S };
  dot(a: V, b: V): S;
  /** Σ factor · v, with numbers or numbers per sample. */
  sum(...terms: [factor: S | number, v: V][]): V;
  select(condition: S, a: V, b: V): V;
  ring(capacity: number): Ring<V, S, W>;
  /** What it costs to look at numbers in the middle of a solve. */
  readonly looking: Looking;
  /** Whether `mask` is 1 anywhere. @throws Error where `looking` is `never`. */
  any(mask: S): boolean;
  /** Most bytes that its vectors have taken beside tensors; 0 where they are tensors. */
  readonly bytes: number;
  /** Numbers for after the solve. */
  read(values: readonly S[]): Numbers;
  /** Frees all that is left. */
  dispose(): void;
}

/** Numbers of a solve that has ended, each [batch]. */
export interface Numbers {
  /** Null where they must be awaited. */
  now: Float64Array[] | null;
  /** Reads them when the step that asks is over. */
  later(): Promise<Float64Array[]>;
  /** May be called while they are awaited. */
  dispose(): void;
}

/** The shapes of a state and where its parts lie in the flattened vectors. */
export interface Layout {
  shapes: number[][];
  batch: number;
  /** Numbers per sample, by part. */
  widths: number[];
  /** Numbers per sample. */
  width: number;
}

/** @throws Error if the parts are not float32 or their first axes differ. */
export function layoutOf(who: string, state: readonly Tensor[]): Layout {
  if (state.length === 0) throw new Error(`${who}: the state must be a list of at least one tensor, got none.`);
  state.forEach(({ dtype }, i) => {
    if (dtype !== 'float32') throw new Error(`${who}: state ${i} must be of dtype float32, got ${dtype}. Use tf.cast(z, 'float32').`);
  });
  const shapes = state.map(({ shape }) => shape.slice());
  const batches = shapes.map((shape) => shape[0] ?? 1);
  const batch = batches[0];
  if (batches.some((size) => size !== batch)) {
    throw new Error(`${who}: the first axis of every part of the state is the batch and must be the same, got shapes ${listShapes(shapes)}.`);
  }
  if (batch === 0) throw new Error(`${who}: the state must hold at least one sample, got shapes ${listShapes(shapes)}.`);
  const widths = shapes.map((shape) => shape.slice(1).reduce((product, length) => product * length, 1));
  return { shapes, batch, widths, width: widths.reduce((sum, width) => sum + width, 0) };
}

/** @throws Error if `image` = f(z) does not have the shapes and dtypes of the state. */
export function checkImage(who: string, image: unknown, { shapes }: Layout): asserts image is Tensor[] {
  const tensors = Array.isArray(image) ? (image as Tensor[]) : null;
  const got = tensors === null ? 'no list' : listShapes(tensors.map(({ shape }) => shape));
  const same = tensors?.length === shapes.length && tensors.every(({ shape }, i) => shape.length === shapes[i].length && shape.every((length, axis) => length === shapes[i][axis]));
  if (!same) throw new Error(`${who}: f must map the state to tensors of its own shapes ${listShapes(shapes)}, got ${got}.`);
  const other = tensors.find(({ dtype }) => dtype !== 'float32');
  if (other) throw new Error(`${who}: f must return float32, got ${other.dtype}. Use tf.cast(…, 'float32').`);
}

/** Σ of tensors of one shape. (`tf.addN` on webgpu runs the shader that it made for the first count of terms, whatever the count.) */
export const total = (terms: readonly Tensor[]): Tensor => terms.reduce((sum, term) => add(sum, term));

const listShapes = (shapes: readonly number[][]): string => shapes.map((shape) => `[${shape.join(', ')}]`).join(', ');
