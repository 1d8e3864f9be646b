/**
 * Rows of a table by number, and sums of rows into a table: `tf.gather` and its gradient `tf.unsortedSegmentSum` for axis 0, at a cost
 * of O(n · width) on every backend. The host's gradient is missing on wasm, and costs O(rows · n · width) on cpu and webgl.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, NamedTensorMap, Tensor } from '@tensorflow/tfjs-core';
import { describe } from '../../checks.js';
import './host.js';
import './webgl.js';
import './webgpu.js';
import { GATHER_ROWS, ROW_SCATTER_ADD, type RowScatterAddAttrs } from './names.js';

/**
 * Rows of `table` [rows, …] by their numbers: result[i…, :] = table[ids[i…], :], of shape [...ids.shape, ...table.shape.slice(1)].
 *
 * Differentiable in `table` any number of times; the gradient is {@link scatterAddRows}. A number outside of [0, rows) names no row: it
 * gives zeros and gets no gradient, on every backend (`tf.gather` throws, or not, by backend).
 *
 * ```ts
 * const vectors = gatherRows(table, tf.tensor2d([[1, 0], [2, 2]], [2, 2], 'int32')); // [2, 2, width]
 * ```
 *
 * @throws Error if `ids` is not of type int32, or `table` is a scalar or not numeric.
 */
export function gatherRows(table: Tensor, ids: Tensor): Tensor {
  checkIds('gatherRows', ids);
  checkTable('gatherRows', 'table', table);
  return tfc.tidy(() => {
    const [rows, ...inner] = table.shape;
    const flat = gather2d(asShape(table, [rows, product(inner)]), asShape(ids, [ids.size]));
    return asShape(flat, [...ids.shape, ...inner]);
  });
}

/**
 * Sums of rows: result[r, :] = Σ values[i…, :] over the i… with ids[i…] = r, of shape [rows, ...inner], where `values` has the shape
 * [...ids.shape, ...inner]. The transpose of {@link gatherRows}, and its gradient; numbers outside of [0, rows) are dropped.
 *
 * Differentiable in `values` any number of times.
 *
 * @throws Error if `ids` is not of type int32, `rows` is no whole number ≥ 0, or the shapes do not fit.
 */
export function scatterAddRows(values: Tensor, ids: Tensor, rows: number): Tensor {
  checkIds('scatterAddRows', ids);
  if (!Number.isInteger(rows) || rows < 0) throw new Error(`scatterAddRows: rows must be an integer ≥ 0, got ${describe(rows)}.`);
  const inner = values.shape.slice(ids.rank);
  if (values.rank < ids.rank || ids.shape.some((length, axis) => length !== values.shape[axis])) {
    throw new Error(
      `scatterAddRows: values must have the shape of ids, [${ids.shape}], and then that of a row; got [${values.shape}].`,
    );
  }
  checkTable('scatterAddRows', 'values', values, 0);
  return tfc.tidy(() => {
    const flat = scatter2d(asShape(values, [ids.size, product(inner)]), asShape(ids, [ids.size]), rows);
    return asShape(flat, [rows, ...inner]);
  });
}

const product = (lengths: number[]) => lengths.reduce((all, length) => all * length, 1);

/** `x` itself where it has that shape: a reshape is one operation more to run and to differentiate. */
const asShape = (x: Tensor, shape: number[]): Tensor =>
  x.rank === shape.length && x.shape.every((length, axis) => length === shape[axis]) ? x : tfc.reshape(x, shape);

function checkIds(who: string, ids: Tensor): void {
  if (ids.dtype === 'int32') return;
  throw new Error(`${who}: ids must be of type int32, got ${ids.dtype}. Use tf.cast(ids, 'int32').`);
}

function checkTable(who: string, name: string, table: Tensor, leastRank = 1): void {
  if (table.dtype !== 'float32' && table.dtype !== 'int32') {
    throw new Error(`${who}: ${name} must be of type float32 or int32, got ${table.dtype}.`);
  }
  if (table.rank < leastRank) throw new Error(`${who}: ${name} must have rows: rank ≥ 1, got a scalar.`);
}

const hasKernel = (name: string) => tfc.getKernel(name, tfc.getBackend()) != null;

const run = (name: string, inputs: Record<string, Tensor>, attrs: object = {}): Tensor =>
  tfc.engine().runKernel(name, inputs as unknown as NamedTensorMap, attrs as NamedAttrMap);

/** table [rows, width], ids [n] → [n, width]. */
function gather2d(table: Tensor, ids: Tensor): Tensor {
  if (hasKernel(GATHER_ROWS)) return run(GATHER_ROWS, { table, ids }, { rows: table.shape[0] });
  // A backend that is not known here: stock operations, with their gradients.
  const [within, safe] = split(ids, table.shape[0]);
  const gathered = tfc.gather(table, safe);
  return tfc.where(tfc.expandDims(within, 1), gathered, tfc.zerosLike(gathered));
}

/** values [n, width], ids [n] → [rows, width]. */
function scatter2d(values: Tensor, ids: Tensor, rows: number): Tensor {
  if (hasKernel(ROW_SCATTER_ADD)) return run(ROW_SCATTER_ADD, { values, ids }, { rows });
  const [within, safe] = split(ids, rows);
  return tfc.unsortedSegmentSum(tfc.where(tfc.expandDims(within, 1), values, tfc.zerosLike(values)), safe as tfc.Tensor1D, rows);
}

function split(ids: Tensor, rows: number): [within: Tensor, safe: Tensor] {
  const within = tfc.logicalAnd(tfc.greaterEqual(ids, tfc.scalar(0, 'int32')), tfc.less(ids, tfc.scalar(rows, 'int32')));
  return [within, tfc.where(within, ids, tfc.zerosLike(ids))];
}

// A gradient asked for with respect to the numbers of rows (they were cast from a float) is zero.
const noGradient = (ids: Tensor) => () => tfc.zeros(ids.shape);

tfc.registerGradient({
  kernelName: GATHER_ROWS,
  inputsToSave: ['ids'],
  gradFunc: (dy, [ids], attrs) => ({
    table: () => scatter2d(dy as Tensor, ids, (attrs as unknown as RowScatterAddAttrs).rows),
    ids: noGradient(ids),
  }),
});

tfc.registerGradient({
  kernelName: ROW_SCATTER_ADD,
  inputsToSave: ['ids'],
  gradFunc: (dy, [ids]) => ({ values: () => gather2d(dy as Tensor, ids), ids: noGradient(ids) }),
});
