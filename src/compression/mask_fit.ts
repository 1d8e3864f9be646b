/**
 * Fits the logistic regression that predicts a mask (`index_model.ts`) to one tensor, by Newton's method with a pull
 * towards the usual weights. Encoder only: the weights stand in the file.
 */
import { codeIndices, type IndexMode, usualWeights } from './index_model.js';
import { type Coder } from './range_coder.js';

const ROUNDS = 6;
/** Bits of the mask that are looked at. */
const MOST = 1 << 18;

/** The weights, in sixteenths, with which `mode` codes the mask of `indices` in the fewest bits. */
export function fitWeights(indices: Uint16Array, columns: number, common: number, mode: IndexMode): Int8Array {
  const usual = usualWeights(mode.lag);
  const size = usual.length;
  // One row a bit of the mask: constant, three logits, neighbours, and the bit itself.
  const rows = new Float32Array(Math.min(indices.length, MOST) * (size + 1));
  let end = 0;
  const listener: Coder = {
    narrow: () => undefined,
    raw: () => undefined,
    bit: (_, bit, mean, row, column, near) => {
      if (near === undefined || end === rows.length) return bit;
      rows[end] = 1;
      rows[end + 1] = mean! / 256;
      rows[end + 2] = row! / 256;
      rows[end + 3] = column! / 256;
      for (let d = 0; d < size - 4; d++) rows[end + 4 + d] = (near >> d) & 1;
      rows[end + size] = bit;
      end += size + 1;
      return bit;
    },
  };
  const mask = indices.map((index) => (index === common ? 0 : 1));
  codeIndices(listener, mask, columns, 2, 0, { ...mode, weights: usual });

  const weights = Float64Array.from(usual, (w) => w / 16);
  for (let round = 0, moved = 1; round < ROUNDS && moved > 1 / 64; round++) {
    const system = newtonSystem(rows.subarray(0, end), weights, usual);
    moved = 0;
    solve(system).forEach((change, a) => {
      weights[a] += change;
      moved = Math.max(moved, Math.abs(change));
    });
  }
  return Int8Array.from(weights, (w) => Math.max(-127, Math.min(127, Math.round(16 * w))));
}

/** Hessian and gradient of the code length: `size` rows of `size` + 1 numbers. */
function newtonSystem(rows: Float32Array, weights: Float64Array, usual: Int8Array): Float64Array[] {
  const size = weights.length;
  const system = Array.from({ length: size }, () => new Float64Array(size + 1));
  const hessian = new Float64Array(size * size);
  const gradient = new Float64Array(size);
  for (let at = 0; at < rows.length; at += size + 1) {
    let logit = 0;
    for (let a = 0; a < size; a++) logit += weights[a] * rows[at + a];
    const p = 1 / (1 + Math.exp(-logit));
    const error = rows[at + size] - p;
    const curvature = Math.max(p * (1 - p), 1e-4);
    for (let a = 0; a < size; a++) {
      const x = rows[at + a];
      if (x === 0) continue;
      gradient[a] += error * x;
      for (let b = 0; b <= a; b++) hessian[a * size + b] += curvature * x * rows[at + b];
    }
  }
  for (let a = 0; a < size; a++) {
    for (let b = 0; b < size; b++) system[a][b] = hessian[a < b ? b * size + a : a * size + b];
    // A weight that differs costs bits in the file.
    system[a][a] += 1;
    system[a][size] = gradient[a] - (weights[a] - usual[a] / 16);
  }
  return system;
}

/** Gauss and Jordan's elimination; the matrix is positive definite. */
function solve(system: Float64Array[]): number[] {
  const size = system.length;
  for (let c = 0; c < size; c++) {
    for (let r = 0; r < size; r++) {
      if (r === c) continue;
      const factor = system[r][c] / system[c][c];
      for (let k = c; k <= size; k++) system[r][k] -= factor * system[c][k];
    }
  }
  return system.map((row, a) => row[size] / row[a]);
}
