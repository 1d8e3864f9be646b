/** What the example takes from the package, in one place. */
export { deqMonitor } from '../../src/callbacks/deq_monitor.js';
export { deqLayer, type DEQLayer } from '../../src/layers/deq_layer.js';
export { spectralNormalization, weightNormalization } from '../../src/layers/kernel_normalization.js';
export { positionEmbedding } from '../../src/layers/position_embedding.js';
export { transformerCell } from '../../src/layers/transformer_cell.js';
export { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
export { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
export { anderson } from '../../src/solvers/anderson.js';
export { implicit } from '../../src/solvers/implicit.js';
export { unrolled } from '../../src/solvers/unrolled.js';
