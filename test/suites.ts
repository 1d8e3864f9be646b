/**
 * Which test files run where: all run in Node on each of its backends and in a page on each of its backends, but for these. A new file needs
 * no entry, unless it imports what only Node has.
 */

/** Cannot run in a page, each with its reason. */
export const NODE_ONLY: Record<string, string> = {
  'test/benchmarks/**': 'the benchmarks are Node programs',
  'test/chromium.test.ts': 'finds the browser',
  'test/cli/**': 'the command is a Node program',
  'test/compression/codec.test.ts': 'compares with brotli and reads a gzipped fixture',
  'test/compression/compressed.test.ts': 'writes files and links, starts a server',
  'test/compression/fuzz.test.ts': 'decodes in a thread that it can end',
  'test/compression/killed_save.test.ts': 'starts processes and kills them',
  'test/examples/**': 'the examples are Node programs',
  'test/suites.test.ts': 'looks at the test files themselves',
};

/** Need a page. */
export const BROWSER_ONLY = ['test/browser/**'];

/** Touch no backend, or choose one themselves, so that once in Node (with cpu) and once in a page (with wasm) is enough. */
export const BACKEND_FREE = [
  'test/benchmarks/**',
  'test/browser/script_tag.test.ts',
  'test/callbacks/merge_components.test.ts',
  'test/chromium.test.ts',
  'test/cli/**',
  'test/clustering/**',
  'test/compression/codec.test.ts',
  'test/compression/container_errors.test.ts',
  'test/compression/fuzz.test.ts',
  'test/compression/killed_save.test.ts',
  'test/examples/**',
  'test/kernels/hashed_weights/hash.test.ts',
  'test/kernels/mixture_energy/tabulated_energy.test.ts',
  'test/layers/deq_blind.test.ts',
  'test/layers/similarity_heat_map.test.ts',
  'test/regularizers/hyperpriors.test.ts',
  'test/regularizers/mixture_parameters.test.ts',
  'test/suites.test.ts',
];

/** The table of solvers and problems: a hundred solves, minutes where a processor draws in a GPU's stead. The suites beside it run everywhere. */
const SOLVERS = ['test/solvers/problems.test.ts'];

/**
 * Left out in a page on a machine without a GPU (headless Chromium with SwiftShader). In Node they run on cpu, wasm and tensorflow.
 * `TFWS_GPU=1`, on a machine with a GPU, runs them too.
 */
export const SLOW_WITHOUT_GPU: Record<string, string[]> = { webgl: SOLVERS, webgpu: SOLVERS };
