/**
 * Coding of bytes: text (the topology and everything else that is JSON) by mixed contexts of the last bytes and the
 * longest match, primed with what tfjs usually writes; and the byte planes of numbers that have no small codebook.
 */
import { bitMixer } from './bit_model.js';
import type { BitCoder } from './range_coder.js';
import { PRIMER } from './primer.js';

const SHIFT = 16;
const TABLE_SIZE = 2 ** (32 - SHIFT);
const ORDERS = [1, 2, 3, 4, 6];
/** Which of them finds a match: four bytes. */
const MATCH_ORDER = 3;

/** Predicts the next byte of a text from all bytes before it; returns the function that codes one. */
function textModel(): (coder: BitCoder, byte: number) => number {
  const orders = ORDERS.length;
  const mixer = bitMixer([256, 64, ...ORDERS.map(() => TABLE_SIZE)], 0.3, 0.004, 250, 3);
  const { context } = mixer;
  const history: number[] = [];
  const hashes = new Int32Array(orders);
  const lastSeen = new Map<number, number>();
  let matchAt = -1;
  let matchLength = 0;

  return (coder, byte) => {
    const expected = matchAt >= 0 ? history[matchAt] : -1;
    let node = 1;
    for (let k = 7; k >= 0; k--) {
      const matches = expected >= 0 && (expected | 256) >> (k + 1) === node;
      context[0] = node;
      context[1] = matches ? Math.min(matchLength, 31) * 2 + ((expected >> k) & 1) : 0;
      for (let i = 0; i < orders; i++) context[i + 2] = Math.imul(hashes[i] + node * 0x9e3779b1, 0x2c1b3c6d) >>> SHIFT;
      node = node * 2 + mixer.code(coder, (byte >> k) & 1, matches ? (matchLength < 12 ? 1 : 2) : 0);
    }
    byte = node - 256;
    history.push(byte);
    const end = history.length;
    ORDERS.forEach((order, i) => {
      hashes[i] = order;
      for (let back = 1; back <= order; back++) hashes[i] = Math.imul(hashes[i] ^ history[end - back], 0x01000193) + i;
    });
    if (expected === byte) {
      matchAt++;
      matchLength++;
    } else {
      matchAt = lastSeen.get(hashes[MATCH_ORDER]) ?? -1;
      matchLength = 1;
    }
    lastSeen.set(hashes[MATCH_ORDER], end);
    return byte;
  };
}

const NO_CODER: BitCoder = { bit: (_, bit) => bit, raw: () => undefined };

/** Codes UTF-8 text whose length both sides know. The decoder fills `bytes`. */
export function codeText(coder: BitCoder, bytes: Uint8Array): void {
  const model = textModel();
  for (const byte of new TextEncoder().encode(PRIMER)) model(NO_CODER, byte);
  for (let i = 0; i < bytes.length; i++) bytes[i] = model(coder, bytes[i]);
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
      const mixer = bitMixer([256, 8, 65536], 0.4, 0.004, 500);
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
