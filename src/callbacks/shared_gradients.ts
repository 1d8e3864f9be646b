/**
 * Gradients of weights that share a value, aggregated before the optimizer sees them, so that it trains the values: Han, Mao & Dally, "Deep Compression",
 * ICLR 2016, §3.3.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedTensorMap, Tensor } from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import { variableOf } from '../host.js';
import { changeGradients } from '../host_gradients.js';
import { heldByFit } from './fit_resources.js';
import { gatherRows, scatterAddRows } from '../kernels/segment_sum/index.js';

export type Aggregation = 'average' | 'sum';

/** A kernel seen as `[outer, rows, inner]`, and which group each of its rows belongs to; −1 for none, which gets no gradient. */
export interface GroupedRows {
  weight: tfl.LayerVariable;
  outer: number;
  inner: number;
  groups: Int32Array;
}

/**
 * From now on, until this fit ends or the function that is returned is called, every row gets the average, or the sum, of the gradients of its group, over
 * all of `kernels`: equal rows stay equal under any optimizer that treats elements alike.
 */
export function shareGradients(model: tfl.LayersModel, kernels: readonly GroupedRows[], groups: number, aggregation: Aggregation): () => void {
  const counts = new Float32Array(groups);
  for (const { groups: each } of kernels) for (const group of each) if (group >= 0) counts[group]++;
  const ids = kernels.map(({ groups: each }) => tfc.tensor1d(each, 'int32'));
  const scale = tfc.tensor2d(counts.map((count) => (aggregation === 'sum' || count === 0 ? 1 : 1 / count)), [groups, 1]); // prettier-ignore
  const change = (gradients: NamedTensorMap): NamedTensorMap => {
    const present = kernels.flatMap((kernel, k) => {
      const gradient = gradients[variableOf(kernel.weight).name] as Tensor | undefined;
      return gradient ? [{ kernel, ids: ids[k], gradient }] : [];
    });
    const sums = present.map(({ kernel, ids, gradient }) => scatterAddRows(rowsOf(gradient, kernel), ids, groups));
    if (sums.length === 0) return {};
    const shared = tfc.mul(sums.reduce((a, b) => tfc.add(a, b)), scale); // prettier-ignore
    return Object.fromEntries(present.map(({ kernel, ids, gradient }) => [variableOf(kernel.weight).name, kernelOf(gatherRows(shared, ids), kernel, gradient.shape)]));
  };
  const sharing = heldByFit(model, () => {
    stop();
    tfc.dispose([...ids, scale]);
  });
  const stop = changeGradients(model, change, () => {
    const lasts = sharing.lasts();
    if (!lasts) sharing.end();
    return lasts;
  });
  return sharing.end;
}

/** [outer, rows, inner] → [rows, outer · inner] */
function rowsOf(gradient: Tensor, { outer, inner, groups }: GroupedRows): Tensor {
  const rows = groups.length;
  if (outer === 1) return tfc.reshape(gradient, [rows, inner]);
  return tfc.reshape(tfc.transpose(tfc.reshape(gradient, [outer, rows, inner]), [1, 0, 2]), [rows, outer * inner]);
}

function kernelOf(matrix: Tensor, { outer, inner, groups }: GroupedRows, shape: number[]): Tensor {
  if (outer === 1) return tfc.reshape(matrix, shape);
  return tfc.reshape(tfc.transpose(tfc.reshape(matrix, [groups.length, outer, inner]), [1, 0, 2]), shape);
}
