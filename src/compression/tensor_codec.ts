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

/** How the encoder decided to write a tensor. */
export type TensorPlan =
  | { kind: 'copy'; of: number }
  | { kind: 'planes'; planes: number }
  | { kind: 'indices'; codebook: Codebook; codebookPlanes: number; common: number; mode: IndexMode; indices: Uint16Array };

/** What later tensors may refer to. */
export interface TensorHistory {
  tensors: TensorBytes[];
  codebooks: Codebook[];
  density: UnitDensity;
}

export const newHistory = (): TensorHistory => ({ tensors: [], codebooks: [], density: null });

/** Told what the next bits are for: the size report listens. */
export type SectionListener = (section: 'header' | 'codebook' | 'data') => void;

const MAX_SYMBOLS = 65536;
const KINDS = ['planes', 'indices', 'copy'] as const;

/** Codes `tensor`; without a plan it decodes, filling `tensor.bytes`. Extends `history`. */
export function codeTensor(
  coder: BitCoder,
  tensor: TensorBytes,
  history: TensorHistory,
  plan: TensorPlan | null,
  section: SectionListener = () => undefined,
): void {
  if (tensor.bytes.length > 0) codeNonEmpty(coder, tensor, history, plan, section);
  history.tensors.push(tensor);
}

function codeNonEmpty(
  coder: BitCoder,
  tensor: TensorBytes,
  history: TensorHistory,
  plan: TensorPlan | null,
  section: SectionListener,
): void {
  const { bytes, width } = tensor;
  section('header');
  const kind = KINDS[codeKind(coder, plan === null ? 0 : KINDS.indexOf(plan.kind))];
  if (kind === 'copy') {
    const of = codeNumber(coder, plan?.kind === 'copy' ? plan.of : 0);
    const source = history.tensors[of]?.bytes;
    if (source === undefined || source.length !== bytes.length) throw new Error('a copied tensor does not fit');
    if (plan === null) bytes.set(source);
  } else if (kind === 'planes') {
    section('data');
    codePlanes(coder, bytes, width, plan?.kind === 'planes' ? plan.planes : 0);
  } else codeByCodebook(coder, tensor, history, plan?.kind === 'indices' ? plan : null, section);
}

function codeKind(coder: BitCoder, kind: number): number {
  return coder.bit(0.5, kind & 1) === 1 ? 1 : coder.bit(0.5, kind >> 1) * 2;
}

function codeByCodebook(
  coder: BitCoder,
  tensor: TensorBytes,
  history: TensorHistory,
  plan: Extract<TensorPlan, { kind: 'indices' }> | null,
  section: SectionListener,
): void {
  const { bytes, width, columns } = tensor;
  const { codebooks } = history;
  const count = bytes.length / width;
  const known = plan === null ? -1 : codebooks.indexOf(plan.codebook);
  const which = codeNumber(coder, known >= 0 ? known : codebooks.length);
  section('codebook');
  if (which >= codebooks.length) codebooks.push(codeCodebook(coder, width, plan));
  const codebook = codebooks[which];
  if (codebook === undefined || codebook.width !== width) throw new Error('a codebook is missing');
  section('data');
  const symbols = codebook.bytes.length / width;
  const indices = plan?.indices ?? new Uint16Array(count);
  if (symbols > 1) {
    const common = codeNumber(coder, plan?.common ?? 0);
    const mode = codeIndexMode(coder, plan?.mode ?? { independent: false, transposed: false, lag: 1 });
    if (common >= symbols || mode.lag > (mode.transposed ? columns : count / columns)) {
      throw new Error('the description of an index tensor is out of range');
    }
    codeIndices(coder, indices, columns, symbols, common, mode, history.density);
    history.density = unitDensity(indices, columns, common);
  }
  if (plan === null) expand(indices, codebook, bytes);
}

function codeCodebook(coder: BitCoder, width: number, plan: Extract<TensorPlan, { kind: 'indices' }> | null): Codebook {
  const symbols = codeNumber(coder, plan === null ? 0 : plan.codebook.bytes.length / width - 1) + 1;
  if (symbols > MAX_SYMBOLS) throw new Error('a codebook is too large');
  const codebook = plan?.codebook ?? { bytes: new Uint8Array(symbols * width), width };
  codePlanes(coder, codebook.bytes, width, plan?.codebookPlanes ?? 0);
  return codebook;
}

/** Writes the codebook's value for every index. */
function expand(indices: Uint16Array, { bytes, width }: Codebook, out: Uint8Array): void {
  if (width === 4 && out.byteOffset % 4 === 0) {
    const values = new Uint32Array(bytes.slice().buffer);
    const words = new Uint32Array(out.buffer, out.byteOffset, indices.length);
    for (let i = 0; i < indices.length; i++) words[i] = values[indices[i]];
  } else {
    for (let i = 0; i < indices.length; i++) {
      for (let k = 0; k < width; k++) out[i * width + k] = bytes[indices[i] * width + k];
    }
  }
}
