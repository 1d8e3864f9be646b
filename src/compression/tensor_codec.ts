/**
 * One weight tensor in the stream, written once for both directions: as a copy of an earlier tensor, as byte planes, or
 * as a codebook with coded indices (a constant is a codebook of one). Everything works on bytes, so −0, NaN payloads
 * and every dtype survive.
 */
import { codePlanes } from './byte_model.js';
import { codeIndexMode, codeIndices, type IndexMode } from './index_model.js';
import { type Coder, codeNumber } from './range_coder.js';

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

/** How one tensor is written. The decoder has none and learns the same by reading. */
export interface TensorPlan {
  kind: 'planes' | 'indices' | 'copy';
  /** `copy`: number of the earlier tensor with the same bytes. */
  of?: number;
  /** `planes`: bit k says that the k-th byte of every value is coded, not verbatim. */
  planes?: number;
  /** `indices`: the distinct values, the planes of that table, the index of each weight, and how those are coded. */
  codebook?: Codebook;
  codebookPlanes?: number;
  indices?: Uint16Array;
  common?: number;
  mode?: IndexMode;
}

/** What later tensors may refer to. */
export interface TensorHistory {
  tensors: TensorBytes[];
  codebooks: Codebook[];
}

export const newHistory = (): TensorHistory => ({ tensors: [], codebooks: [] });

const MAX_SYMBOLS = 65536;
const KINDS = ['planes', 'indices', 'copy'];

const check = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`${what} is out of range`);
};

/** Codes `tensor`; without a plan it decodes, filling `tensor.bytes`. Extends `history`. */
export function codeTensor(coder: Coder, tensor: TensorBytes, history: TensorHistory, plan?: TensorPlan): void {
  const { bytes, width } = tensor;
  if (bytes.length > 0) {
    coder.mark?.('header');
    const kind = KINDS[codeNumber(coder, KINDS.indexOf(plan?.kind ?? ''))];
    if (kind === 'indices') codeByCodebook(coder, tensor, history, plan);
    else if (kind === 'planes') {
      coder.mark?.('data');
      codePlanes(coder, bytes, width, plan?.planes);
    } else {
      const source = history.tensors[codeNumber(coder, plan?.of)]?.bytes;
      check(source?.length === bytes.length, 'a copied tensor');
      bytes.set(source);
    }
  }
  history.tensors.push(tensor);
}

function codeByCodebook(
  coder: Coder,
  { bytes, width, columns }: TensorBytes,
  history: TensorHistory,
  plan?: TensorPlan,
): void {
  const { codebooks } = history;
  const count = bytes.length / width;
  // What it may hold keeps the work in proportion to the tensor.
  const limit = Math.min(MAX_SYMBOLS, count + 16);
  const known = codebooks.findIndex((codebook) => codebook === plan?.codebook);
  const which = codeNumber(coder, known < 0 ? codebooks.length : known);
  if (which === codebooks.length) {
    coder.mark?.('codebook');
    const size = codeNumber(coder, plan?.codebook && plan.codebook.bytes.length / width - 1) + 1;
    check(size <= limit, 'a codebook');
    const codebook = plan?.codebook ?? { bytes: new Uint8Array(size * width), width };
    codePlanes(coder, codebook.bytes, width, plan?.codebookPlanes);
    codebooks.push(codebook);
  }
  const codebook = codebooks[which];
  const symbols = codebook?.bytes.length / width;
  check(codebook?.width === width && symbols <= limit, 'a codebook');
  coder.mark?.('data');
  const indices = plan?.indices ?? new Uint16Array(count);
  if (symbols > 1) {
    const common = codeNumber(coder, plan?.common);
    const mode = codeIndexMode(coder, plan?.mode);
    check(common < symbols && mode.lag <= (mode.transposed ? columns : count / columns), 'an index tensor');
    codeIndices(coder, indices, columns, symbols, common, mode);
  }
  if (!plan) expand(indices, codebook, bytes);
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
