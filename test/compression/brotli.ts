/** The measure that needs Node. */
import { brotliCompressSync, constants } from 'node:zlib';

/** brotli-11 of byte indices, the better of row-major and column-major. */
export function brotliBytes(indices: Uint8Array, columns: number): number {
  const rows = indices.length / columns;
  const transposed = Uint8Array.from(indices, (_, i) => indices[(i % rows) * columns + Math.floor(i / rows)]);
  const size = (bytes: Uint8Array): number =>
    brotliCompressSync(bytes, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 11,
        [constants.BROTLI_PARAM_LGWIN]: 24,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      },
    }).length;
  return Math.min(size(indices), size(transposed));
}
