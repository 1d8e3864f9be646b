/** What the example takes from the package, in one place. */
export { recursiveSupervision } from '../../src/losses/recursive_supervision.js';
export { drcn } from '../../src/recipes/drcn.js';
export { drrn } from '../../src/recipes/drrn.js';
export { memNet } from '../../src/recipes/mem_net.js';
export { rdn } from '../../src/recipes/rdn.js';
