/** The one explicit call that mends what the host's backends lack or do badly in training; importing this package changes no kernel. */

import { registerClonesAndSums } from './clones_and_sums/wasm.js';
import { registerConvGradients } from './conv_gradients/wasm.js';
import { registerSegmentSums } from './segment_sum/stock.js';
import { registerSteps } from './steps/native.js';
import { registerTransposedProducts } from './transposed_products/wasm.js';

/** Each family replaces or adds kernels for the backends that are imported, once, and names what it registered. */
const FAMILIES: ReadonlyArray<() => string[]> = [registerTransposedProducts, registerSegmentSums, registerConvGradients, registerClonesAndSums, registerSteps];

/**
 * Registers the kernels that stock training needs and the imported backends lack or do badly, and returns what it registered, as
 * `backend/Kernel`: an empty list where nothing is left to do (called again, or no such backend imported). Our own layers do not need it.
 *
 * Call it once, after importing the backends, before or after `tf.setBackend`:
 *
 * ```ts
 * import '@tensorflow/tfjs-backend-wasm';
 * import { registerMissingKernels } from 'tfjs-weight-sharing';
 * registerMissingKernels(); // ['wasm/BatchMatMul', 'wasm/_FusedMatMul', 'wasm/GatherV2', …]
 * ```
 *
 * With it every stock layer that can be trained on cpu can be trained on wasm, to the same gradients. A training step on wasm, one thread: of
 * a dense layer 1024 → 1024, batch 128, 15–20 times faster; of an `embedding` or `conv2d` network, which threw, 3–4 times its forward
 * pass. On cpu, of an embedding of 1 000 × 32 and 1 024 tokens, some 200 times faster (`npm run bench -- missing-kernels`).
 *
 * On wasm:
 * - `BatchMatMul`, `_FusedMatMul`: products with a transposed operand (the gradients of every dense layer) up to 45 times faster; small and
 *   batched ones are left to the stock kernel. Fused products with a transposition or a batch, which the stock kernel gets wrong, and a right
 *   operand that shares its buffer with one of another shape, become right.
 * - `UnsortedSegmentSum`, the gradient of `tf.gather` and so of `embedding`: missing. Numbers outside of [0, numSegments) are dropped.
 * - `GatherV2`: without a closure per index.
 * - `Conv2DBackpropFilter`, `DepthwiseConv2dNativeBackpropFilter`, `DepthwiseConv2dNativeBackpropInput`: missing. `channelsLast` only, as the
 *   convolution itself; a dilated one has no gradient in the host.
 * - `Conv2DBackpropInput`: as fast as the convolution, which took a seventh to a fortieth of the time.
 * - `Conv3DBackpropInputV2`, and `MaxPoolGrad` for windows that are not square: right, where the stock ones answer wrong numbers. `MaxPoolGrad`
 *   is about ten times faster, too.
 * - `Identity`: clones share their buffer, as on the other backends. `Sum` over leading axes (of every bias) without a transposition.
 *
 * On cpu: `UnsortedSegmentSum`, without a pass over all values per segment, and `GatherV2`.
 *
 * On tensorflow: `Step`, the gradient of every ReLU, about eight times faster.
 *
 * The convolutions' gradients run in a WebAssembly module of 2.5 kB with vectors of four, in JavaScript where the engine has none; on one
 * thread, also where the backend has several.
 */
export function registerMissingKernels(): string[] {
  return FAMILIES.flatMap((register) => register());
}
