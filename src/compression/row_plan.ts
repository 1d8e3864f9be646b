/** Which rows of a tensor are equal, byte for byte. */
import type { TensorBytes } from './tensor_codec.js';

const MAX_LABELS = 65536;
/** Below this a row is hardly longer than the number that stands for it. */
const LEAST_ROW_BYTES = 8;

/** Label of each of the rows of `rowBytes` bytes, numbered as they first appear, and where each label appears first. */
export function rowLabels(bytes: Uint8Array, rowBytes: number): { labels: Uint32Array; firsts: number[] } {
  const seen = new Map<string, number>();
  const firsts: number[] = [];
  const decoder = new TextDecoder('latin1');
  const labels = new Uint32Array(bytes.length / rowBytes).map((_, row) => {
    const key = decoder.decode(bytes.subarray(row * rowBytes, (row + 1) * rowBytes));
    let label = seen.get(key);
    if (label === undefined) {
      seen.set(key, (label = firsts.length));
      firsts.push(row);
    }
    return label;
  });
  return { labels, firsts };
}

/** The distinct rows, and which of them each row is; null where fewer than a quarter repeat an earlier one, or rows are very short. */
export function distinctRows({ bytes, width, columns }: TensorBytes): { count: number; distinct: TensorBytes; labels: Uint32Array } | null {
  const rowBytes = columns * width;
  if (rowBytes < LEAST_ROW_BYTES || bytes.length < 2 * rowBytes) return null;
  const { labels, firsts } = rowLabels(bytes, rowBytes);
  if (firsts.length > 0.75 * labels.length || firsts.length > MAX_LABELS) return null;
  const distinct = new Uint8Array(firsts.length * rowBytes);
  firsts.forEach((row, label) => distinct.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), label * rowBytes));
  return { count: firsts.length, distinct: { bytes: distinct, width, columns }, labels };
}
