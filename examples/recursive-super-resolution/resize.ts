/** Bicubic resizing as MATLAB's imresize does it, antialiased where it shrinks: the degradation and the baseline of the super-resolution papers. */
import type { Luminance } from '../common/luminance.js';

/** Keys' cubic with a = −½ (Keys, IEEE Trans. ASSP 29, 1981). */
function cubic(x: number): number {
  const a = Math.abs(x);
  if (a <= 1) return 1.5 * a ** 3 - 2.5 * a ** 2 + 1;
  return a < 2 ? -0.5 * a ** 3 + 2.5 * a ** 2 - 4 * a + 2 : 0;
}

interface Taps {
  /** Per place in the result: which places of the source, and how much of each. */
  indices: Int32Array;
  weights: Float64Array;
  count: number;
}

/** For one axis; the source is mirrored at its ends, its last line included. */
function tapsOf(length: number, newLength: number): Taps {
  const scale = newLength / length;
  // Where it shrinks, the kernel is as much wider.
  const shrink = Math.min(1, scale);
  const width = 4 / shrink;
  const count = Math.ceil(width) + 2;
  const indices = new Int32Array(newLength * count);
  const weights = new Float64Array(newLength * count);
  for (let place = 0; place < newLength; place++) {
    // In MATLAB's numbering from 1: u = (place + 1) / scale + ½ (1 − 1 / scale).
    const center = (place + 1) / scale + 0.5 * (1 - 1 / scale);
    const left = Math.floor(center - width / 2);
    let total = 0;
    for (let k = 0; k < count; k++) {
      const weight = shrink * cubic(shrink * (center - (left + k)));
      weights[place * count + k] = weight;
      total += weight;
      const cycle = (((left + k - 1) % (2 * length)) + 2 * length) % (2 * length);
      indices[place * count + k] = cycle < length ? cycle : 2 * length - 1 - cycle;
    }
    for (let k = 0; k < count; k++) weights[place * count + k] /= total;
  }
  return { indices, weights, count };
}

/** `image` at another size, not rounded. */
export function resized(image: Luminance, newWidth: number, newHeight: number): Luminance {
  const { width, values } = image;
  const down = tapsOf(image.height, newHeight);
  const rows = new Float64Array(width * newHeight);
  for (let y = 0; y < newHeight; y++) {
    for (let k = 0; k < down.count; k++) {
      const [weight, source] = [down.weights[y * down.count + k], down.indices[y * down.count + k] * width];
      if (weight !== 0) for (let x = 0; x < width; x++) rows[y * width + x] += weight * values[source + x];
    }
  }
  const across = tapsOf(width, newWidth);
  const result = new Float32Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      let sum = 0;
      for (let k = 0; k < across.count; k++) sum += across.weights[x * across.count + k] * rows[y * width + across.indices[x * across.count + k]];
      result[y * newWidth + x] = sum;
    }
  }
  return { width: newWidth, height: newHeight, values: result };
}

/** What is left of `image` when it is made `scale` times smaller and brought back to its size, a multiple of `scale`. */
export function degraded(image: Luminance, scale: number): Luminance {
  return resized(resized(image, image.width / scale, image.height / scale), image.width, image.height);
}
