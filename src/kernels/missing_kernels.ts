/** The one explicit call that mends what the host's backends lack or do badly in training; importing this package changes no kernel. */

import { registerClonesAndSums } from './clones_and_sums/wasm.js';
import { registerConvGradients } from './conv_gradients/wasm.js';
import { registerSegmentSums } from './segment_sum/stock.js';
import { registerTransposedProducts } from './transposed_products/wasm.js';

/** Each family replaces or adds kernels for the backends that are imported, once, and names what it registered. */
const FAMILIES: ReadonlyArray<() => string[]> = [registerTransposedProducts, registerSegmentSums, registerConvGradients, registerClonesAndSums];

/**
 * Registers the kernels that stock training needs and the imported backends lack or do badly, and returns what it registered, as
 * `backend/Kernel`: an empty list where nothing is left to do (called again, or no such backend imported).
 *
 * Call it once, after importing the backends, before or after `tf.setBackend`:
 *
 * ```ts
 * import '@tensorflow/tfjs-backend-wasm';
 * import { registerMissingKernels } from 'tfjs-weight-sharing';
 * registerMissingKernels(); // ['wasm/BatchMatMul', 'wasm/_FusedMatMul']
 * ```
 *
 * - `wasm/BatchMatMul`, `wasm/_FusedMatMul`: products with a transposed operand (the gradients of every dense layer) up to 45 times
 *   faster; small and batched ones are left to the stock kernel. Fused products with a transposition or a batch, which the stock kernel gets
 *   wrong, and a right operand that shares its buffer with one of another shape, become right.
 */
export function registerMissingKernels(): string[] {
  return FAMILIES.flatMap((register) => register());
}
