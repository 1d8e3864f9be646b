/** Kernels as learned combinations of templates (pure). Savarese & Maire, "Learning Implicitly Recurrent CNNs Through Parameter Sharing", ICLR 2019, eq. 1. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { denseProduct } from '../kernels/dense_product/index.js';
import { dot } from './orthogonal_rows.js';

/**
 * Σ_k α_k T_k.
 *
 * @param templates [K, …shape]
 * @param coefficients α [K]
 * @returns […shape]
 * @throws Error if α is not of rank 1 or of another length.
 */
export function combineTemplates(templates: Tensor, coefficients: Tensor): Tensor {
  const [count, ...shape] = templates.shape;
  if (coefficients.rank !== 1 || coefficients.shape[0] !== count) {
    throw new Error(`combineTemplates: coefficients must be of shape [${count}], one for each template, got [${coefficients.shape.join(', ')}].`);
  }
  const row = tfc.reshape(coefficients, [1, count]) as Tensor2D;
  return tfc.reshape(denseProduct(row, tfc.reshape(templates, [count, -1]) as Tensor2D), shape);
}

/**
 * S_ij = |⟨α_i, α_j⟩| / (‖α_i‖ ‖α_j‖) of rows of coefficients; 0 beside a row of zeros (§3.3 of the paper).
 * @throws Error if the rows differ in length.
 */
export function coefficientSimilarity(rows: readonly ArrayLike<number>[]): number[][] {
  const width = rows[0]?.length ?? 0;
  rows.forEach((row, i) => {
    if (row.length !== width) throw new Error(`coefficientSimilarity: all rows must have ${width} coefficients, as the first has, got ${row.length} in row ${i}.`);
  });
  const norms = rows.map((row) => Math.sqrt(dot(row, row)));
  return rows.map((a, i) => rows.map((b, j) => (norms[i] * norms[j] === 0 ? 0 : Math.abs(dot(a, b)) / (norms[i] * norms[j]))));
}
