/** What the inputs of an attention layer are, and whether they fit its options. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Shape } from '@tensorflow/tfjs-layers';
import { shownShape, type NumberRange } from '../checks.js';

/** What the checks need to know of a layer. */
export interface AttentionOptionsOf {
  name: string;
  numHeads: number;
  keyDim: number | null;
  valueDim: number | null;
  outputDim: number | null;
  causal: boolean;
  maskInput: boolean;
  mapsInput: boolean;
}

export interface AttentionPlan {
  batch: number | null;
  queryTime: number | null;
  keyTime: number | null;
  queryWidth: number;
  keyWidth: number;
  valueWidth: number;
  keyDim: number;
  valueDim: number;
  outputDim: number;
}

export const SHARE: NumberRange = { expected: 'a number in [0, 1)', holds: (x) => x >= 0 && x < 1 };

export const agree = (a: number | null, b: number | null): boolean => a == null || b == null || a === b;

/** The most heads, not more than `heads`, that divide `width`. */
export const fittingHeads = (heads: number, width: number): number => (width % heads === 0 ? heads : fittingHeads(heads - 1, width));

/** Which of the inputs is what: with `mapsInput` the query and the key stand for the value. */
export function splitInputs<T>({ name, maskInput, mapsInput }: AttentionOptionsOf, inputs: T[]): { query: T; key: T; value: T; mask?: T; maps?: T } {
  const who = `MultiHeadAttention '${name}'`;
  if (mapsInput) {
    if (inputs.length !== 2) throw new Error(`${who}: with mapsInput expected [value, maps], got ${inputs.length} ${inputs.length === 1 ? 'input' : 'inputs'}.`);
    return { query: inputs[0], key: inputs[0], value: inputs[0], maps: inputs[1] };
  }
  const given = maskInput ? inputs.slice(0, -1) : inputs;
  if (given.length < 1 || given.length > 3) {
    throw new Error(`${who}: expected x, [query, memory] or [query, key, value]${maskInput ? ', and the mask last' : ''}, got ${inputs.length} ${inputs.length === 1 ? 'input' : 'inputs'}.`);
  }
  const [query, key = query, value = key] = given;
  return { query, key, value, ...(maskInput ? { mask: inputs[inputs.length - 1] } : {}) };
}

/** Lengths that shapes of inputs imply for a layer. @throws Error where they do not fit. */
export function planAttention(layer: AttentionOptionsOf, shapes: Shape[]): AttentionPlan {
  const who = `MultiHeadAttention '${layer.name}'`;
  const { query, key, value, mask, maps } = splitInputs(layer, shapes);
  for (const [what, shape] of Object.entries({ query, key, value })) {
    if (shape.length === 3 && shape[2] != null) continue;
    throw new Error(`${who}: expected ${layer.mapsInput ? 'a value' : `a ${what}`} [batch, time, width] with a known width, got ${shownShape(shape)}.`);
  }
  checkLengths(layer, query, key, value);
  const [queryWidth, keyWidth, valueWidth] = [query, key, value].map((shape) => shape[2] as number);
  if (layer.keyDim === null && queryWidth % layer.numHeads !== 0) {
    throw new Error(`${who}: numHeads must divide the width, got ${layer.numHeads} heads and width ${queryWidth}. Use ${fittingHeads(layer.numHeads, queryWidth)} heads, or say the length of a head with keyDim.`);
  }
  const keyDim = layer.keyDim ?? queryWidth / layer.numHeads;
  if (mask !== undefined) checkMask(who, mask, [query[0], layer.numHeads, query[1], key[1]]);
  if (maps !== undefined) checkMaps(who, maps, layer.numHeads, value);
  return {
    batch: query[0], queryTime: maps === undefined ? query[1] : maps[2], keyTime: key[1], queryWidth, keyWidth, valueWidth,
    keyDim, valueDim: layer.valueDim ?? keyDim, outputDim: layer.outputDim ?? queryWidth,
  }; // prettier-ignore
}

/** @throws Error where numbers of sequences, or of positions, do not fit: shapes that are known too late for {@link planAttention} included. */
export function checkLengths({ name, causal }: Pick<AttentionOptionsOf, 'name' | 'causal'>, query: Shape, key: Shape, value: Shape): void {
  const who = `MultiHeadAttention '${name}'`;
  if (!agree(query[0], key[0]) || !agree(key[0], value[0])) throw new Error(`${who}: query, key and value must be of equally many sequences, got ${query[0]}, ${key[0]} and ${value[0]}.`);
  if (!agree(key[1], value[1])) throw new Error(`${who}: there must be a value for each key, got ${key[1]} keys and ${value[1]} values.`);
  if (causal && !agree(query[1], key[1])) throw new Error(`${who}: causal attention is that of a sequence over itself, got ${query[1]} queries and ${key[1]} keys.`);
}

function checkMaps(who: string, maps: Shape, heads: number, value: Shape): void {
  if (maps.length === 4 && maps[1] === heads && agree(maps[3], value[1]) && agree(maps[0], value[0])) return;
  throw new Error(
    `${who}: expected maps [batch, ${heads}, query time, ${value[1] ?? 'key time'}] for ${heads} heads, got ${shownShape(maps)}. Only layers with equally many heads ` +
      'over the same positions can share maps: make them with multiHeadAttention({outputMaps: true}).',
  );
}

/** @throws Error if `mask` is none for maps [batch, heads, queries, keys]. */
export function checkMask(who: string, mask: Shape, [batch, heads, queries, keys]: Shape): void {
  const wanted: Shape[] = [[batch, keys], [batch, queries, keys], [batch, heads, queries, keys]];
  const like = wanted.find(({ length }) => length === mask.length);
  // Lengths of 1 stand for all heads, and for all queries.
  const fits = like?.every((length, axis) => agree(length, mask[axis]) || (mask[axis] === 1 && axis < mask.length - 1 && (mask.length === 4 || axis === 0)));
  if (fits === true) return;
  throw new Error(
    `${who}: expected a mask [batch, key time], [batch, query time, key time] or [batch, heads or 1, query time or 1, key time], here ` +
      `${shownShape(wanted[0])}, ${shownShape(wanted[1])} or ${shownShape(wanted[2])}, got ${shownShape(mask)}.`,
  );
}

/** A mask of any of the shapes that are taken as [batch, heads, queries, keys], with 1 where it says nothing. @throws Error for another shape. */
export function widenedMask(name: string, mask: Tensor | null, shape: number[]): Tensor | null {
  if (mask === null) return null;
  checkMask(`MultiHeadAttention '${name}'`, mask.shape, shape);
  const numbers = mask.dtype === 'float32' ? mask : tfc.cast(mask, 'float32');
  if (mask.rank === 4) return numbers;
  return tfc.reshape(numbers, mask.rank === 2 ? [mask.shape[0], 1, 1, mask.shape[1]!] : [mask.shape[0], 1, mask.shape[1]!, mask.shape[2]!]);
}
