/** What the example takes from the package, in one place. */
export { tiedEmbedding, type TiedEmbedding } from '../../src/layers/tied_embedding.js';
export { tiedProjection } from '../../src/layers/tied_projection.js';
export { augmentedLoss } from '../../src/losses/augmented_loss.js';
export { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
export { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
