/** The weights of a recursive layer that stands for several convolutions on templates whose kernels are parallel. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { variableOf, type LayerVariable } from '../host.js';
import { dot } from '../layers/orthogonal_rows.js';
import type { BatchNormalization, Unit } from './template_blocks.js';

/** Of one place in a block, for all recursions. */
export interface FoldedUnit {
  /** ‖W_l − c_l W‖ / ‖W_l‖ of each layer. */
  errors: number[];
  /** [rows, columns, inputs, filters]; null of what comes before all convolutions. */
  kernel: { values: Float32Array; shape: number[] } | null;
  /** γ, β, and with statistics means and variances: [recursions][filters] each. */
  affine: number[][][];
}

/** @param rows coefficients of the units' convolutions, [recursions][templates] */
export async function foldedUnit(units: readonly Unit[], rows: readonly number[][]): Promise<FoldedUnit> {
  const bank = variableOf(units[0].conv.bank!.kernel!);
  const templates = (await bank.data()) as Float32Array;
  const { direction, factors, errors } = sharedDirection(rows, gramOf(templates, rows[0].length));
  const size = templates.length / direction.length;
  const values = Float32Array.from({ length: size }, (_, i) => direction.reduce((sum, alpha, k) => sum + alpha * templates[k * size + i], 0));
  const each = await Promise.all(units.map((unit, l) => affineOf(unit, factors[l])));
  return { errors, kernel: { values, shape: bank.shape.slice(1) }, affine: each[0].map((_, w) => each.map((weights) => Array.from(weights[w]))) };
}

/** What comes before the first convolution of each recursion: normalisations as they are, or none at all. */
export async function leadingUnit(norms: readonly (BatchNormalization | null)[], channels: number): Promise<FoldedUnit> {
  const each = await Promise.all(norms.flatMap((norm) => (norm === null ? [] : [normalizationOf(norm, channels)])));
  return { errors: [], kernel: null, affine: (each[0] ?? []).map((_, w) => each.map((weights) => Array.from(weights[w]))) };
}

/** The weights of the recursive layer, new tensors, in its order: those that are trained, part by part, then means and variances. */
export function foldedTensors(units: readonly FoldedUnit[]): Tensor[] {
  return [
    ...units.flatMap(({ kernel, affine }) => [...(kernel === null ? [] : [tfc.tensor(kernel.values, kernel.shape)]), ...affine.slice(0, 2).map((rows) => tfc.tensor2d(rows))]),
    ...units.flatMap(({ affine }) => affine.slice(2).map((rows) => tfc.tensor2d(rows))),
  ];
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

/** γ, β, mean and variance, [channels] each. */
async function normalizationOf(norm: BatchNormalization, channels: number): Promise<Float32Array[]> {
  const read = async (weight: LayerVariable | null, missing: number) => (weight === null ? new Float32Array(channels).fill(missing) : ((await variableOf(weight).data()) as Float32Array));
  return Promise.all([read(norm.gamma, 1), read(norm.beta, 0), read(norm.movingMean, 0), read(norm.movingVariance, 1)]);
}

/** γ, β, mean and variance of a recursion whose kernel is the layer's over c; γ and β alone without batch normalisation. Each [filters]. */
async function affineOf({ conv, norm }: Unit, c: number): Promise<Float32Array[]> {
  const filters = conv.plan.filters;
  const bias = conv.bias === null ? new Float32Array(filters) : ((await variableOf(conv.bias).data()) as Float32Array);
  if (norm === null) return [new Float32Array(filters).fill(c), bias];
  const [gamma, beta, mean, variance] = await normalizationOf(norm, filters);
  const epsilon = norm.getConfig()['epsilon'] as number;
  return [
    gamma.map((value) => value * Math.sign(c)),
    beta,
    mean.map((value, i) => (value - bias[i]) / c),
    variance.map((value) => (value + epsilon) / c ** 2 - epsilon),
  ];
}
