/**
 * One weight tensor in the stream, written once for both directions: as a copy of an earlier tensor, as byte planes,
 * as a codebook with coded indices (a constant is a codebook of one), or as its distinct rows and which of them each row
 * is. Everything works on bytes, so −0, NaN payloads and every dtype survive.
 */
import { codePlanes } from './byte_model.js';
import { codeIndexMode, codeIndices, type IndexMode } from './index_model.js';
import { type Coder, codeNumber } from './range_coder.js';
import { symbolModel } from './symbol_model.js';

/** A tensor as the codec sees it. */
export interface TensorBytes {
  bytes: Uint8Array;
  /** Bytes of one value: 1, 2 or 4. */
  width: number;
  /** Columns of the matrix that its shape is seen as. */
  columns: number;
}

/** The distinct values of one or more tensors, sorted by value. */
export interface Codebook {
  bytes: Uint8Array;
  width: number;
}

/** The kinds of plans, as they stand in the file. */
export const PLANES = 0;
export const INDICES = 1;
export const COPY = 2;
export const ROWS = 3;

/** How one tensor is written. The decoder has none and learns the same by reading. */
export interface TensorPlan {
  kind: typeof PLANES | typeof INDICES | typeof COPY | typeof ROWS;
  /** COPY: number of the earlier tensor with the same bytes. */
  of?: number;
  /** PLANES: bit k says that the k-th byte of every value is coded, not verbatim. */
  planes?: number;
  /** INDICES: the distinct values, the planes of that table, the index of each weight, and how those are coded. */
  codebook?: Codebook;
  codebookPlanes?: number;
  indices?: Uint16Array;
  common?: number;
  mode?: IndexMode;
  /** ROWS: the distinct rows, their number, their plan, and which of them each row is. */
  count?: number;
  distinct?: Uint8Array;
  distinctPlan?: TensorPlan;
  labels?: ArrayLike<number>;
}

/** What later tensors may refer to. */
export interface TensorHistory {
  tensors: TensorBytes[];
  codebooks: Codebook[];
}

export const newHistory = (): TensorHistory => ({ tensors: [], codebooks: [] });

const MAX_SYMBOLS = 65536;

const check = (holds: boolean): void => {
  if (!holds) throw new Error('an index is out of range');
};

/** Codes `tensor`; without a plan it decodes, filling `tensor.bytes`. Extends `history`. */
export function codeTensor(coder: Coder, tensor: TensorBytes, history: TensorHistory, plan: Partial<TensorPlan> = {}): void {
  const { bytes, width } = tensor;
  if (bytes.length > 0) {
    coder.mark?.('header');
    const kind = codeNumber(coder, plan.kind);
    if (kind === INDICES) codeByCodebook(coder, tensor, history, plan);
    else if (kind === ROWS) codeByRows(coder, tensor, plan);
    else if (kind === PLANES) {
      coder.mark?.('data');
      codePlanes(coder, bytes, width, plan.planes);
    } else {
      const source = history.tensors[codeNumber(coder, plan.of)]?.bytes;
      check(source?.length === bytes.length);
      bytes.set(source);
    }
  }
  history.tensors.push(tensor);
}

function codeByCodebook(
  coder: Coder,
  { bytes, width, columns }: TensorBytes,
  { codebooks }: TensorHistory,
  plan: Partial<TensorPlan>,
): void {
  const count = bytes.length / width;
  // What it may hold keeps the work in proportion to the tensor.
  const limit = Math.min(MAX_SYMBOLS, count + 16);
  const known = codebooks.indexOf(plan.codebook as Codebook);
  const which = codeNumber(coder, known < 0 ? codebooks.length : known);
  if (which === codebooks.length) {
    coder.mark?.('codebook');
    const size = codeNumber(coder, plan.codebook && plan.codebook.bytes.length / width - 1) + 1;
    check(size <= limit);
    codebooks.push(plan.codebook ?? { bytes: new Uint8Array(size * width), width });
    codePlanes(coder, codebooks[which].bytes, width, plan.codebookPlanes);
  }
  const codebook = codebooks[which];
  const symbols = codebook?.bytes.length / width;
  check(codebook?.width === width && symbols <= limit);
  coder.mark?.('data');
  const indices = plan.indices ?? new Uint16Array(count);
  if (symbols > 1) {
    const common = codeNumber(coder, plan.common);
    const mode = codeIndexMode(coder, plan.mode);
    check(common < symbols && mode.lag <= (mode.transposed ? columns : count / columns));
    codeIndices(coder, indices, columns, symbols, common, mode);
  }
  if (!plan.indices) expand(indices, codebook, bytes);
}

/** A codebook of rows, which is nothing that other tensors refer to. */
function codeByRows(
  coder: Coder,
  { bytes, width, columns }: TensorBytes,
  { count, distinct, distinctPlan, labels = [] }: Partial<TensorPlan>,
): void {
  const size = columns * width;
  count = codeNumber(coder, count! - 1) + 1;
  // The encoder keeps to three quarters. Rows of rows of … then cost a few times the tensor at most.
  check(count * size * 1.3 < bytes.length);
  distinct ??= new Uint8Array(count * size);
  codeTensor(coder, { bytes: distinct, width, columns }, newHistory(), distinctPlan);
  const codeLabel = symbolModel(coder, 1, count);
  for (let i = 0; i < bytes.length; i += size) {
    const start = codeLabel(0, labels[i / size]) * size;
    // In the encoder these are the bytes that stand there.
    bytes.set(distinct.slice(start, start + size), i);
  }
}

/** Writes the codebook's value for every index, by way of pieces of whole words: weight data of mixed dtypes is not aligned. */
function expand(indices: Uint16Array, { bytes, width }: Codebook, out: Uint8Array): void {
  const Words = width > 2 ? Uint32Array : width > 1 ? Uint16Array : Uint8Array;
  const values = new Words(bytes.slice().buffer);
  const words = new Words(4096);
  for (let start = 0; start < indices.length; start += words.length) {
    const count = Math.min(words.length, indices.length - start);
    for (let i = 0; i < count; i++) words[i] = values[indices[start + i]];
    out.set(new Uint8Array(words.buffer, 0, count * width), start * width);
  }
}
