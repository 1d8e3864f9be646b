/**
 * Range coder (Martin 1979; the carry handling of LZMA) over probabilities held as integers, so that encoder and decoder
 * agree bit for bit on every machine. It codes bits of given probability and symbols of given frequencies. One stream has
 * two ends: coded bits grow from the front, verbatim bytes from the back, which saves every length field.
 *
 * The range stays within 2²²…2³⁰, where V8 holds an integer in a field without a box.
 *
 * Ours because no npm package reaches the bounds: `arithmetic-coding` is a static order-0 model, and the LZMA and brotli
 * ports know nothing of rows and columns (on a quantised network brotli-11 takes 0.92 times the order-0 entropy, this 0.68).
 */

/**
 * Both directions of coding: a model written once against this interface is encoder and decoder. The encoder writes
 * `bit` and returns it; the decoder ignores the argument and returns what it read.
 */
export interface Coder {
  /**
   * Codes one bit that is 1 with probability `p` / 65536, `p` within 1…65535. To what a mask's probability comes from only
   * `mask_fit.ts` listens.
   */
  bit(p: number, bit: number, mean?: number, row?: number, column?: number, near?: number): number;
  /** Codes that a symbol lies between `low` and `high` of the `FREQUENCIES`; where it lies, the decoder asks `target` before. */
  narrow(low: number, high: number): void;
  /** The decoder only: a place, below `FREQUENCIES`, inside of the next symbol. */
  target?(): number;
  /** Codes verbatim each `step`-th of `bytes` from `start` on. The decoder fills them in. */
  raw(bytes: Uint8Array, start: number, step: number): void;
  /** Says what the next bits are for. Only the encoder of a size report listens. */
  mark?(section: Section): void;
}

export type Section = 'header' | 'codebook' | 'data';

/** The probability of a bit of which nothing is known. */
export const EVEN = 32768;

/** What the frequencies of a distribution add up to. */
export const FREQUENCIES = 16384;

const FULL = 1 << 30;
const LEAST = FULL >> 8;

export class RangeEncoder implements Coder {
  private low = 0;
  private range = FULL;
  private cache = -1;
  private pending = 0;
  private front = new Uint8Array(1024);
  private size = 0;
  private readonly back: Uint8Array[] = [];

  bit(p: number, bit: number): number {
    const bound = Math.imul(this.range >>> 14, p) >>> 2;
    if (bit) this.range = bound;
    else {
      this.low += bound;
      this.range -= bound;
    }
    this.renew();
    return bit;
  }

  narrow(low: number, high: number): void {
    const unit = this.range >>> 14;
    this.low += unit * low;
    this.range = unit * (high - low);
    this.renew();
  }

  raw(bytes: Uint8Array, start: number, step: number): void {
    const copy = new Uint8Array(Math.ceil((bytes.length - start) / step));
    for (let i = 0; i < copy.length; i++) copy[i] = bytes[start + i * step];
    this.back.push(copy);
  }

  /** Bytes so far, to within the four that `finish` may add. */
  get length(): number {
    return this.size + this.pending + this.back.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  /** The stream: as few final bytes as identify the interval, whatever follows them. */
  finish(): Uint8Array {
    let count = 1;
    for (; ; count++) {
      const unit = 2 ** (32 - 8 * count);
      const value = Math.ceil(this.low / unit) * unit;
      if (value + unit <= this.low + this.range) {
        this.low = value;
        break;
      }
    }
    for (; count >= 0; count--) this.shift();
    const bytes = new Uint8Array(this.length);
    bytes.set(this.front.subarray(0, this.size));
    let end = bytes.length;
    for (const raw of this.back) bytes.set(raw, (end -= raw.length));
    return bytes;
  }

  private renew(): void {
    while (this.range < LEAST) {
      this.shift();
      this.range <<= 8;
    }
  }

  private shift(): void {
    const carry = this.low < 2 ** 32 ? 0 : 1;
    if (this.low < 0xff000000 || carry > 0) {
      if (this.cache >= 0) this.put(this.cache + carry);
      for (; this.pending > 0; this.pending--) this.put(255 + carry);
      this.cache = (this.low >>> 24) & 255;
    } else this.pending++;
    this.low = (this.low << 8) >>> 0;
  }

  private put(byte: number): void {
    if (this.size === this.front.length) {
      const longer = new Uint8Array(2 * this.size);
      longer.set(this.front);
      this.front = longer;
    }
    this.front[this.size++] = byte;
  }
}

export class RangeDecoder implements Coder {
  readonly #bytes: Uint8Array;
  #position: number;
  #end: number;
  #code = 0;
  #range = FULL;

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = bytes;
    this.#position = position;
    this.#end = bytes.length;
    for (let i = 0; i < 4; i++) this.#code = (this.#code << 8) | this.#next();
    // Here and in `target`: whatever the stream holds, the code stays within the range, or the range could become 0.
    this.#code &= FULL - 1;
  }

  bit(p: number): number {
    const bound = Math.imul(this.#range >>> 14, p) >>> 2;
    let bit = 1;
    if (this.#code < bound) this.#range = bound;
    else {
      this.#code -= bound;
      this.#range -= bound;
      bit = 0;
    }
    this.#renew();
    return bit;
  }

  target(): number {
    const unit = this.#range >>> 14;
    this.#code = Math.min(this.#code, unit * FREQUENCIES - 1);
    return (this.#code / unit) | 0;
  }

  narrow(low: number, high: number): void {
    const unit = this.#range >>> 14;
    this.#code -= Math.imul(unit, low);
    this.#range = Math.imul(unit, high - low);
    this.#renew();
  }

  raw(bytes: Uint8Array, start: number, step: number): void {
    const count = Math.ceil((bytes.length - start) / step);
    if (count > this.#end) throw new Error('a tensor is too long');
    let from = (this.#end -= count);
    for (let i = start; i < bytes.length; i += step) bytes[i] = this.#bytes[from++];
  }

  /** Whether the two ends met: the coded bits reach to the verbatim bytes, give or take the bytes read ahead. */
  get exhausted(): boolean {
    return this.#position >= this.#end && this.#position <= this.#end + 4;
  }

  #renew(): void {
    while (this.#range < LEAST) {
      this.#code = (this.#code << 8) | this.#next();
      this.#range <<= 8;
    }
  }

  /** Past the end zeros come; `exhausted` and the checksum tell a damaged stream. */
  #next(): number {
    return this.#bytes[this.#position++] ?? 0;
  }
}

/** Codes a non-negative integer below 2³⁰ (Elias gamma of `value + 1`). */
export function codeNumber(coder: Coder, value = 0): number {
  let length = 0;
  while (length < 30 && coder.bit(EVEN, (value + 1) >> length > 1 ? 1 : 0)) length++;
  let result = 1;
  while (length-- > 0) result = result * 2 + coder.bit(EVEN, ((value + 1) >> length) & 1);
  return result - 1;
}
