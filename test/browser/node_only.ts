/** Test files that cannot run in a page, each with its reason; everything else in test/ does. */
export const NODE_ONLY: Record<string, string> = {
  'test/examples/**': 'the examples are Node programs',
  'test/benchmarks/**': 'the benchmarks are Node programs',
  'test/compression/codec.test.ts': 'measures against brotli, reads a gzipped fixture',
  'test/compression/compressed.test.ts': 'files, links and an HTTP server',
};
