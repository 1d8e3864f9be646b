/** What the example takes from the package, in one place. */
export { recursiveConv, type RecursiveConv } from '../../src/layers/recursion/recursive_conv.js';
export { templateBank } from '../../src/layers/template_bank.js';
export { templateConv2d } from '../../src/layers/template_conv2d.js';
export { eigenNet } from '../../src/recipes/eigen_net.js';
export { lruNet } from '../../src/recipes/lru_net.js';
