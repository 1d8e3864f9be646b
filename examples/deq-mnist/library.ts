/** What the example takes from the package, in one place. */
export { deqMonitor } from '../../src/callbacks/deq_monitor.js';
export { deqLayer, type DEQLayer } from '../../src/layers/deq_layer.js';
export { multiscaleImageCell } from '../../src/layers/multiscale_image_cell.js';
export { anderson } from '../../src/solvers/anderson.js';
export { implicit } from '../../src/solvers/implicit.js';
export { unrolled } from '../../src/solvers/unrolled.js';
