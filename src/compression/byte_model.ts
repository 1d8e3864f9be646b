/**
 * Coding of bytes: text (the topology and everything else that is JSON) by mixed contexts of the last bytes and the
 * longest match, primed with what tfjs usually writes; and the byte planes of numbers that have no small codebook.
 */
import { BitMixer } from './bit_model.js';
import type { BitCoder } from './range_coder.js';
import { PRIMER } from './primer.js';

const TABLE_BITS = 16;
const TABLE_SIZE = 1 << TABLE_BITS;
const ORDERS = [1, 2, 3, 4, 6];

/** Predicts the next byte of a text from all bytes before it. */
class TextModel {
  private readonly mixer = new BitMixer({
    sizes: [256, ...ORDERS.map(() => TABLE_SIZE), 64, TABLE_SIZE],
    sets: 3,
    weight: 0.3,
    rate: 0.004,
    limit: 250,
  });
  private readonly history: number[] = [];
  private readonly hashes = new Int32Array(ORDERS.length + 1);
  private readonly lastSeen = new Map<number, number>();
  private matchAt = -1;
  private matchLength = 0;

  code(coder: BitCoder, byte: number): number {
    const { mixer, hashes, history } = this;
    const { context } = mixer;
    const expected = this.matchAt >= 0 ? history[this.matchAt] : -1;
    let node = 1;
    for (let k = 7; k >= 0; k--) {
      context[0] = node;
      for (let i = 0; i < hashes.length; i++) {
        const slot = i < ORDERS.length ? i + 1 : i + 2;
        context[slot] = (Math.imul(hashes[i] + node * 0x9e3779b1, 0x2c1b3c6d) >>> (32 - TABLE_BITS)) & (TABLE_SIZE - 1);
      }
      const matches = expected >= 0 && (expected | 256) >> (k + 1) === node;
      const length = Math.min(this.matchLength, 31);
      context[ORDERS.length + 1] = matches ? length * 2 + ((expected >> k) & 1) : 0;
      node = node * 2 + mixer.code(coder, (byte >> k) & 1, !matches ? 0 : length < 12 ? 1 : 2);
    }
    this.learn(node - 256);
    return node - 256;
  }

  private learn(byte: number): void {
    const { history, hashes } = this;
    history.push(byte);
    const end = history.length;
    for (let i = 0; i < ORDERS.length; i++) {
      let hash = ORDERS[i];
      for (let back = 1; back <= ORDERS[i]; back++) hash = Math.imul(hash ^ (history[end - back] ?? 0), 0x01000193) + i;
      hashes[i] = hash;
    }
    // The last context is the word so far: letters and digits since the last other byte.
    const letter = (byte >= 48 && byte < 58) || (byte >= 65 && byte < 91) || (byte >= 97 && byte < 123);
    hashes[ORDERS.length] = letter ? Math.imul(hashes[ORDERS.length] ^ byte, 0x01000193) + 77 : Math.imul(byte, 0x9e3779b1);

    if (this.matchAt >= 0 && history[this.matchAt] === byte) {
      this.matchAt++;
      this.matchLength++;
    } else this.matchAt = -1;
    const key = hashes[3];
    if (this.matchAt < 0) {
      this.matchAt = this.lastSeen.get(key) ?? -1;
      this.matchLength = this.matchAt < 0 ? 0 : 1;
    }
    this.lastSeen.set(key, end);
  }
}

const NO_CODER: BitCoder = { bit: (_, bit) => bit, raw: () => undefined };

/** Codes UTF-8 text whose length both sides know. The decoder fills `bytes`. */
export function codeText(coder: BitCoder, bytes: Uint8Array): void {
  const model = new TextModel();
  for (const byte of new TextEncoder().encode(PRIMER)) model.code(NO_CODER, byte);
  for (let i = 0; i < bytes.length; i++) bytes[i] = model.code(coder, bytes[i]);
}

/**
 * Codes little-endian numbers of `width` bytes plane by plane, the most significant first: each plane verbatim or, where
 * `plan` says so, by adaptive contexts. Signs and exponents repeat; low bits of a mantissa do not.
 */
export function codePlanes(coder: BitCoder, bytes: Uint8Array, width: number, plan: number): number {
  const count = bytes.length / width;
  const plane = new Uint8Array(count);
  let used = 0;
  for (let k = width - 1; k >= 0; k--) {
    const modelled = coder.bit(0.5, (plan >> k) & 1);
    used |= modelled << k;
    for (let i = 0; i < count; i++) plane[i] = bytes[i * width + k];
    if (modelled === 0) coder.raw(plane);
    else {
      const mixer = new BitMixer({ sizes: [256, 8, 65536], weight: 0.4, rate: 0.004, limit: 500 });
      for (let i = 0; i < count; i++) {
        const above = k + 1 < width ? bytes[i * width + k + 1] << 8 : 0;
        let node = 1;
        for (let j = 7; j >= 0; j--) {
          mixer.context[0] = node;
          mixer.context[1] = j;
          mixer.context[2] = above | node;
          node = node * 2 + mixer.code(coder, (plane[i] >> j) & 1);
        }
        plane[i] = node - 256;
      }
    }
    for (let i = 0; i < count; i++) bytes[i * width + k] = plane[i];
  }
  return used;
}
