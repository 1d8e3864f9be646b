/**
 * Coding of bytes: text (the topology and everything else that is JSON) by mixed contexts of the last bytes and the
 * longest match, primed with what tfjs usually writes; and the byte planes of numbers that have no small codebook.
 */
import { bitMixer } from './bit_model.js';
import { type Coder, EVEN } from './range_coder.js';
import { PRIMER } from './primer.js';

/** Lengths of the contexts; the last also finds matches. */
const ORDERS = [1, 2, 3, 5];

/** Predicts the next byte of a text from all bytes before it; returns the function that codes one. */
function textModel(): (coder: Coder, byte: number) => number {
  const orders = ORDERS.length;
  const mixer = bitMixer([256, 64, ...ORDERS.map(() => 2 ** 18)], 0.3, 0.004, 250, 3);
  const { context } = mixer;
  const history: number[] = [];
  const hashes = new Int32Array(orders);
  const places = new Int32Array(orders);
  const lastSeen = new Int32Array(65536).fill(-1);
  let matchAt = -1;
  let matchLength = 0;

  return (coder, byte) => {
    const expected = matchAt >= 0 ? history[matchAt] : -1;
    let node = 1;
    let half = 1;
    for (let k = 7; k >= 0; k--) {
      const matches = expected >= 0 && (expected | 256) >> (k + 1) === node;
      context[0] = node;
      context[1] = matches ? Math.min(matchLength, 31) * 2 + ((expected >> k) & 1) : 0;
      if (k === 3) half = 1;
      // An order has 2¹⁴ places for the 15 contexts in half a byte, which lie side by side: fewer cache lines.
      for (let i = 0; i < orders; i++) {
        if (half === 1) places[i] = (Math.imul(hashes[i] + node * 0x9e3779b1, 0x2c1b3c6d) >>> 18) << 4;
        context[i + 2] = places[i] + half;
      }
      const bit = mixer.code(coder, (byte >> k) & 1, matches ? (matchLength < 12 ? 1 : 2) : 0);
      node = node * 2 + bit;
      half = half * 2 + bit;
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
      matchAt = lastSeen[hashes[3] & 65535];
      matchLength = 1;
    }
    lastSeen[hashes[3] & 65535] = end;
    return byte;
  };
}

const NO_CODER = { bit: (_, bit) => bit } as Coder;

/** Codes UTF-8 text whose length both sides know. The decoder fills `bytes`. */
export function codeText(coder: Coder, bytes: Uint8Array): void {
  const model = textModel();
  for (const byte of new TextEncoder().encode(PRIMER)) model(NO_CODER, byte);
  for (let i = 0; i < bytes.length; i++) bytes[i] = model(coder, bytes[i]);
}

/**
 * Codes little-endian numbers of `width` bytes plane by plane, the most significant first: each plane verbatim or, where
 * `plan` says so, by adaptive contexts. Signs and exponents repeat; low bits of a mantissa do not.
 */
export function codePlanes(coder: Coder, bytes: Uint8Array, width: number, plan = 0): number {
  let used = 0;
  for (let k = width - 1; k >= 0; k--) {
    if (coder.bit(EVEN, (plan >> k) & 1) === 0) {
      coder.raw(bytes, k, width);
      continue;
    }
    used |= 1 << k;
    const mixer = bitMixer([256, 4096], 0.4, 0.004, 250);
    for (let i = k; i < bytes.length; i += width) {
      const above = k + 1 < width ? bytes[i + 1] * 256 : 0;
      let node = 1;
      for (let j = 7; j >= 0; j--) {
        mixer.context[0] = node;
        mixer.context[1] = Math.imul(above + node, 0x9e3779b1) >>> 20;
        node = node * 2 + mixer.code(coder, (bytes[i] >> j) & 1);
      }
      bytes[i] = node;
    }
  }
  return used;
}
