/**
 * One weight tensor in the stream, written once for both directions: as a copy of an earlier tensor, as byte planes, or
 * as a codebook with coded indices (a constant is a codebook of one). Everything works on bytes, so −0, NaN payloads
 * and every dtype survive.
 */
import { codePlanes } from './byte_model.js';
import { codeIndexMode, codeIndices, type IndexMode, unitDensity, type UnitDensity } from './index_model.js';
import { type BitCoder, codeNumber } from './range_coder.js';

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

/** How one tensor is written. The decoder passes a blank one and learns the same by reading. */
export interface TensorPlan {
  kind: 'planes' | 'indices' | 'copy';
  /** `copy`: number of the earlier tensor with the same bytes. */
  of: number;
  /** `planes`: bit k says that the k-th byte of every value is coded, not verbatim. */
  planes: number;
  /** `indices`: the distinct values, the planes of that table, the index of each weight, and how those are coded. */
  codebook: Codebook | null;
  codebookPlanes: number;
  indices: Uint16Array | null;
  common: number;
  mode: IndexMode;
}

export const blankPlan = (): TensorPlan => ({
  kind: 'planes', of: 0, planes: 0, codebook: null, codebookPlanes: 0, indices: null, common: 0,
  mode: { independent: true, transposed: false, lag: 1 },
}); // prettier-ignore

/** What later tensors may refer to. */
export interface TensorHistory {
  tensors: TensorBytes[];
  codebooks: Codebook[];
  density: UnitDensity;
}

export const newHistory = (): TensorHistory => ({ tensors: [], codebooks: [], density: null });

const MAX_SYMBOLS = 65536;
const KINDS = ['planes', 'indices', 'copy'] as const;

const check = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`${what} is out of range`);
};

/** Codes `tensor`; with a blank plan it decodes, filling `tensor.bytes`. Extends `history`. */
export function codeTensor(coder: BitCoder, tensor: TensorBytes, history: TensorHistory, plan = blankPlan()): void {
  const { bytes, width } = tensor;
  if (bytes.length > 0) {
    coder.mark?.('header');
    const kind = KINDS[codeNumber(coder, KINDS.indexOf(plan.kind))];
    if (kind === 'indices') codeByCodebook(coder, tensor, history, plan);
    else if (kind === 'planes') {
      coder.mark?.('data');
      codePlanes(coder, bytes, width, plan.planes);
    } else {
      const source = history.tensors[codeNumber(coder, plan.of)]?.bytes;
      check(source?.length === bytes.length, 'a copied tensor');
      bytes.set(source);
    }
  }
  history.tensors.push(tensor);
}

function codeByCodebook(
  coder: BitCoder,
  { bytes, width, columns }: TensorBytes,
  history: TensorHistory,
  plan: TensorPlan,
): void {
  const { codebooks } = history;
  const count = bytes.length / width;
  const known = codebooks.indexOf(plan.codebook!);
  const which = codeNumber(coder, known < 0 ? codebooks.length : known);
  if (which === codebooks.length) {
    coder.mark?.('codebook');
    const size = codeNumber(coder, plan.codebook === null ? 0 : plan.codebook.bytes.length / width - 1) + 1;
    check(size <= MAX_SYMBOLS, 'a codebook');
    const codebook = plan.codebook ?? { bytes: new Uint8Array(size * width), width };
    codePlanes(coder, codebook.bytes, width, plan.codebookPlanes);
    codebooks.push(codebook);
  }
  const codebook = codebooks[which];
  check(codebook?.width === width, 'a codebook');
  coder.mark?.('data');
  const symbols = codebook.bytes.length / width;
  const indices = plan.indices ?? new Uint16Array(count);
  if (symbols > 1) {
    const common = codeNumber(coder, plan.common);
    const mode = codeIndexMode(coder, plan.mode);
    check(common < symbols && mode.lag <= (mode.transposed ? columns : count / columns), 'an index tensor');
    codeIndices(coder, indices, columns, symbols, common, mode, history.density);
    history.density = unitDensity(indices, columns, common);
  }
  if (plan.indices === null) expand(indices, codebook, bytes);
}

/** Writes the codebook's value for every index, by way of whole words: weight data of mixed dtypes is not aligned. */
function expand(indices: Uint16Array, { bytes, width }: Codebook, out: Uint8Array): void {
  const Words = width > 2 ? Uint32Array : width > 1 ? Uint16Array : Uint8Array;
  const values = new Words(bytes.slice().buffer);
  const words = new Words(indices.length);
  for (let i = 0; i < words.length; i++) words[i] = values[indices[i]];
  out.set(new Uint8Array(words.buffer));
}
