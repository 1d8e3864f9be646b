/** The two operations that backends have kernels for. */
import type { TensorInfo } from '@tensorflow/tfjs-core';

/** logits [rows, classes] float32, targets [rows] int32 in [0, classes) → losses [rows], and softmax(logits) − one-hot(targets) [rows, classes]. */
export const SPARSE_CROSS_ENTROPY = 'SparseCrossEntropy';
export interface SparseCrossEntropyInputs {
  logits: TensorInfo;
  targets: TensorInfo;
}

/** x [rows, columns], scale [rows] → x[r, c] · scale[r]. */
export const SCALE_ROWS = 'ScaleRows';
export interface ScaleRowsInputs {
  x: TensorInfo;
  scale: TensorInfo;
}
