/** How near an image is to another: PSNR and SSIM, as in the super-resolution papers. */
import { cropped, toByte, type Luminance } from '../common/luminance.js';

export interface Quality {
  /** Decibels. */
  psnr: number;
  ssim: number;
}

/** Both images rounded to bytes, without a border of `border` pixels. */
export function qualityOf(image: Luminance, reference: Luminance, border: number): Quality {
  const [a, b] = [image, reference].map((each) => {
    const inner = cropped(each, border, border, each.width - 2 * border, each.height - 2 * border);
    return { ...inner, values: inner.values.map(toByte) };
  });
  return { psnr: psnr(a, b), ssim: ssim(a, b) };
}

/** 10 · log₁₀(255² / mean squared difference). */
export function psnr(a: Luminance, b: Luminance): number {
  const squares = a.values.reduce((total, value, i) => total + (value - b.values[i]) ** 2, 0);
  return 10 * Math.log10(255 ** 2 / (squares / a.values.length));
}

const WINDOW = 11;
const SIGMA = 1.5;
const [C1, C2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];

/** Mean structural similarity in Gaussian windows of 11 × 11, σ = 1.5, that lie inside (Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 13, 2004). */
export function ssim(a: Luminance, b: Luminance): number {
  if (a.width < WINDOW || a.height < WINDOW) throw new Error(`ssim: images must be at least ${WINDOW} × ${WINDOW}, got ${a.width} × ${a.height}.`);
  const product = (x: Luminance, y: Luminance) => ({ ...x, values: x.values.map((value, i) => value * y.values[i]) });
  const [ma, mb, aa, bb, ab] = [a, b, product(a, a), product(b, b), product(a, b)].map(blurred);
  let total = 0;
  for (let i = 0; i < ma.length; i++) {
    const [x, y] = [ma[i], mb[i]];
    total += ((2 * x * y + C1) * (2 * (ab[i] - x * y) + C2)) / ((x * x + y * y + C1) * (aa[i] - x * x + bb[i] - y * y + C2));
  }
  return total / ma.length;
}

function blurred({ width, height, values }: Luminance): Float64Array {
  const raw = Array.from({ length: WINDOW }, (_, k) => Math.exp(-((k - (WINDOW - 1) / 2) ** 2) / (2 * SIGMA ** 2)));
  const kernel = raw.map((weight) => weight / raw.reduce((total, each) => total + each));
  const [newWidth, newHeight] = [width - WINDOW + 1, height - WINDOW + 1];
  const rows = new Float64Array(newWidth * height);
  for (let y = 0; y < height; y++) for (let x = 0; x < newWidth; x++) rows[y * newWidth + x] = kernel.reduce((sum, weight, k) => sum + weight * values[y * width + x + k], 0);
  const result = new Float64Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) for (let x = 0; x < newWidth; x++) result[y * newWidth + x] = kernel.reduce((sum, weight, k) => sum + weight * rows[(y + k) * newWidth + x], 0);
  return result;
}
