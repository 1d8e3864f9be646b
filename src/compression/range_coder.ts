/**
 * Binary range coder (Martin 1979; the carry handling of LZMA) over probabilities held as IEEE doubles, so that encoder
 * and decoder agree bit for bit on every machine. One stream has two ends: coded bits grow from the front, verbatim
 * bytes from the back, which saves every length field.
 *
 * Ours because no npm package reaches the bounds: `arithmetic-coding` is a static order-0 model, and the LZMA and brotli
 * ports know nothing of rows and columns (brotli-11 is 1.0 times the order-0 entropy on quantised weights, this 0.77).
 */

/**
 * Both directions of coding: a model written once against this interface is encoder and decoder. The encoder writes
 * `bit` and returns it; the decoder ignores the argument and returns what it read.
 */
export interface BitCoder {
  /** Codes one bit whose probability of being 1 is `p`, within [`P_MIN`, 1 − `P_MIN`]. */
  bit(p: number, bit: number): number;
  /** Codes bytes verbatim. The decoder fills `bytes`. */
  raw(bytes: Uint8Array): void;
  /** Says what the next bits are for. Only the encoder of a size report listens. */
  mark?(section: Section): void;
}

export type Section = 'header' | 'codebook' | 'data';

/** The least probability a model may give: one byte then codes at most `SYMBOLS_PER_BYTE` symbols. */
export const P_MIN = 1 / 65536;

export class RangeEncoder implements BitCoder {
  private low = 0;
  private range = 1 << 24;
  private cache = -1;
  private pending = 0;
  private readonly front: number[] = [];
  private readonly back: Uint8Array[] = [];

  bit(p: number, bit: number): number {
    const bound = (this.range * p) | 0;
    if (bit) this.range = bound;
    else {
      this.low += bound;
      this.range -= bound;
    }
    while (this.range < 65536) {
      this.shift();
      this.range <<= 8;
    }
    return bit;
  }

  raw(bytes: Uint8Array): void {
    this.back.push(bytes.slice());
  }

  /** Bytes so far, to within the three that `finish` may add. */
  get length(): number {
    return this.front.length + this.pending + this.back.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  /** The stream: as few final bytes as identify the interval, whatever follows them. */
  finish(): Uint8Array {
    let count = 1;
    for (; ; count++) {
      const rest = 2 ** (24 - 8 * count) - 1;
      const value = (this.low + rest) & ~rest;
      if (value + rest < this.low + this.range) {
        this.low = value;
        break;
      }
    }
    for (; count >= 0; count--) this.shift();
    const bytes = new Uint8Array(this.length);
    bytes.set(this.front);
    let end = bytes.length;
    for (const raw of this.back) bytes.set(raw, (end -= raw.length));
    return bytes;
  }

  private shift(): void {
    if (this.low < 0xff0000 || this.low >= 0x1000000) {
      const carry = this.low >>> 24;
      if (this.cache >= 0) this.front.push((this.cache + carry) & 255);
      for (; this.pending > 0; this.pending--) this.front.push((255 + carry) & 255);
      this.cache = (this.low >>> 16) & 255;
    } else this.pending++;
    this.low = (this.low & 0xffff) << 8;
  }
}

export class RangeDecoder implements BitCoder {
  private code = 0;
  private range = 1 << 24;
  private end: number;

  constructor(
    private readonly bytes: Uint8Array,
    private position: number,
  ) {
    this.end = bytes.length;
    for (let i = 0; i < 3; i++) this.code = (this.code << 8) | this.next();
  }

  bit(p: number, _bit?: number): number {
    const bound = (this.range * p) | 0;
    let bit = 1;
    if (this.code < bound) this.range = bound;
    else {
      this.code -= bound;
      this.range -= bound;
      bit = 0;
    }
    while (this.range < 65536) {
      this.code = (this.code << 8) | this.next();
      this.range <<= 8;
    }
    return bit;
  }

  raw(bytes: Uint8Array): void {
    if (bytes.length > this.end) throw new Error('a tensor is too long');
    this.end -= bytes.length;
    bytes.set(this.bytes.subarray(this.end, this.end + bytes.length));
  }

  /** Whether the two ends met: the coded bits reach to the verbatim bytes, give or take the bytes read ahead. */
  get exhausted(): boolean {
    return this.position >= this.end && this.position <= this.end + 3;
  }

  private next(): number {
    // Past the end zeros come; `exhausted` and the checksum tell a damaged stream.
    return this.position < this.bytes.length ? this.bytes[this.position++] : (this.position++, 0);
  }
}

/** Codes a non-negative integer below 2³⁰ (Elias gamma of `value + 1`). */
export function codeNumber(coder: BitCoder, value = 0): number {
  let length = 0;
  while (length < 30 && coder.bit(0.5, (value + 1) >> length > 1 ? 1 : 0)) length++;
  let result = 1;
  while (length-- > 0) result = result * 2 + coder.bit(0.5, ((value + 1) >> length) & 1);
  return result - 1;
}
