/** The two operations, transposes of each other, and what their kernels are given: rank 2 and 1 only. */
import type { TensorInfo } from '@tensorflow/tfjs-core';

/** table [rows, width], ids [n] → [n, width]. */
export const GATHER_ROWS = 'GatherRows';
export interface GatherRowsInputs {
  table: TensorInfo;
  ids: TensorInfo;
}

/** values [n, width], ids [n] → [rows, width]. */
export const ROW_SCATTER_ADD = 'RowScatterAdd';
export interface RowScatterAddInputs {
  values: TensorInfo;
  ids: TensorInfo;
}
export interface RowScatterAddAttrs {
  rows: number;
}
