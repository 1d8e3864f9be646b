/** The weights of a recursive layer that stands for several convolutions on templates whose kernels are parallel. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { variableOf, type LayerVariable } from '../host.js';
import { dot } from '../layers/orthogonal_rows.js';
import type { Stage } from './template_stages.js';

export interface FoldedWeights {
  /** ‖W_l − c_l W‖ / ‖W_l‖ of each layer. */
  errors: number[];
  /** New ones at each call, in the order of the layer: kernel, γ, β, and with statistics means and variances, a row for each recursion. */
  tensors(): Tensor[];
}

/** @param rows coefficients of the stages' convolutions, [stages][templates] */
export async function foldedWeights(stages: readonly Stage[], rows: readonly number[][]): Promise<FoldedWeights> {
  const bank = variableOf(stages[0].conv.bank!.kernel!);
  const templates = (await bank.data()) as Float32Array;
  const { direction, factors, errors } = sharedDirection(rows, gramOf(templates, rows[0].length));
  const size = templates.length / direction.length;
  const kernel = Float32Array.from({ length: size }, (_, i) => direction.reduce((sum, alpha, k) => sum + alpha * templates[k * size + i], 0));
  const affine = await Promise.all(stages.map((stage, l) => affineOf(stage, factors[l])));
  const shape = bank.shape.slice(1);
  return { errors, tensors: () => [tfc.tensor(kernel, shape), ...affine[0].map((_, w) => tfc.tensor2d(affine.map((each) => Array.from(each[w]))))] };
}

/** ⟨T_k, T_l⟩ of the templates [K, size]. */
function gramOf(templates: Float32Array, count: number): number[][] {
  const size = templates.length / count;
  const each = Array.from({ length: count }, (_, k) => templates.subarray(k * size, (k + 1) * size));
  return each.map((a) => each.map((b) => dot(a, b)));
}

/**
 * The coefficients ρ of the kernel that stays, in the mean direction of the rows, and the factors c_l that bring c_l ρ nearest to row l in the
 * space of kernels, of which the largest is ±1; and how far away they then are.
 */
export function sharedDirection(rows: readonly number[][], gram: readonly number[][]): { direction: number[]; factors: number[]; errors: number[] } {
  const inner = (a: readonly number[], b: readonly number[]): number => dot(a, gram.map((row) => dot(row, b))); // prettier-ignore
  const largest = rows.reduce((best, row) => (dot(row, row) > dot(best, best) ? row : best));
  const mean = largest.map((_, k) => rows.reduce((sum, row) => sum + Math.sign(dot(row, largest)) * row[k], 0));
  const raw = rows.map((row) => inner(row, mean) / inner(mean, mean));
  const scale = Math.max(...raw.map(Math.abs));
  const [direction, factors] = [mean.map((value) => value * scale), raw.map((value) => value / scale)];
  const errors = rows.map((row, l) => {
    const left = row.map((value, k) => value - factors[l] * direction[k]);
    return Math.sqrt(Math.max(0, inner(left, left)) / inner(row, row));
  });
  return { direction, factors, errors };
}

/** γ, β, mean and variance of a recursion whose kernel is the layer's over c; γ and β alone without batch normalisation. Each [filters]. */
async function affineOf({ conv, norm }: Stage, c: number): Promise<Float32Array[]> {
  const filters = conv.plan.filters;
  const read = async (weight: LayerVariable | null, missing: number): Promise<Float32Array> =>
    weight === null ? new Float32Array(filters).fill(missing) : ((await variableOf(weight).data()) as Float32Array);
  const bias = await read(conv.bias, 0);
  if (norm === null) return [new Float32Array(filters).fill(c), bias];
  const [gamma, beta, mean, variance] = await Promise.all([read(norm.gamma, 1), read(norm.beta, 0), read(norm.movingMean, 0), read(norm.movingVariance, 1)]);
  const epsilon = norm.getConfig()['epsilon'] as number;
  return [
    gamma.map((value) => value * Math.sign(c)),
    beta,
    mean.map((value, i) => (value - bias[i]) / c),
    variance.map((value) => (value + epsilon) / c ** 2 - epsilon),
  ];
}
