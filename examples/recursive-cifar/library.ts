/** What the example takes from the package, in one place. */
export type { Combination } from '../../src/layers/banked_options.js';
export { bankedConv2d } from '../../src/layers/banked_conv2d.js';
export { parameterBank } from '../../src/layers/parameter_bank.js';
export { layerSimilarity, type LayerSimilarity } from '../../src/layers/layer_similarity.js';
export { recursiveConv, type RecursiveConv } from '../../src/layers/recursion/recursive_conv.js';
export { similarityHeatMap } from '../../src/layers/similarity_heat_map.js';
export { templateBank } from '../../src/layers/template_bank.js';
export { templateConv2d } from '../../src/layers/template_conv2d.js';
export { distillation } from '../../src/losses/distillation.js';
export { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
export { eigenNet } from '../../src/recipes/eigen_net.js';
export { lruNet } from '../../src/recipes/lru_net.js';
export { learnGrouping } from '../../src/surgery/learn_grouping.js';
export { splitBank } from '../../src/surgery/split_bank.js';
