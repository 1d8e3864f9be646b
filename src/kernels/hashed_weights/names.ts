/** Names and attributes of the kernels of hashed matrices. */
import type { HashedMatrix } from './matrix.js';

/** stored [buckets] → [rows, columns] */
export const EXPAND = 'HashedExpand';
/** stored [buckets], rows [n] int32 → [n, columns] */
export const EXPAND_ROWS = 'HashedExpandRows';
/** gradient [rows, columns] → [buckets] */
export const SCATTER = 'HashedScatter';
/** gradient [n, columns], rows [n] int32 → [buckets] */
export const SCATTER_ROWS = 'HashedScatterRows';

export interface HashedAttrs {
  matrix: HashedMatrix;
  buckets: number;
}
