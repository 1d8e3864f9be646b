/** `tfjs-weight-sharing/load`: for pages that only load compressed models. Registers nothing, does not save. */
export { compressedSource as compressed, type CompressedSourceArgs } from './compression/compressed_source.js';
