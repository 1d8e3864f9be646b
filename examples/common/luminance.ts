/** Grey images as arrays of numbers, and how they come from and go to PNG files. */
import { readFileSync } from 'node:fs';
import { PNG } from 'pngjs';

/** Luminance, row by row, 0 … 255. */
export interface Luminance {
  width: number;
  height: number;
  values: Float32Array;
}

/** BT.601 luminance of a PNG file, rounded to whole numbers as MATLAB's rgb2ycbcr gives it for 8-bit images: 16 … 235. */
export function readLuminance(path: string): Luminance {
  let png: PNG;
  try {
    png = PNG.sync.read(readFileSync(path));
  } catch (error) {
    throw new Error(`${path}: not a PNG image that can be read (${(error as Error).message}).`, { cause: error });
  }
  const { width, height, data } = png;
  const values = Float32Array.from({ length: width * height }, (_, i) => luma(data[4 * i], data[4 * i + 1], data[4 * i + 2]));
  return { width, height, values };
}

/** ITU-R BT.601, studio swing. */
export const luma = (red: number, green: number, blue: number): number => Math.round(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255);

/** A grey PNG file's bytes. */
export function greyPng({ width, height, values }: Luminance): Uint8Array {
  const png = new PNG({ width, height });
  values.forEach((value, i) => png.data.set([...Array<number>(3).fill(toByte(value)), 255], 4 * i));
  return PNG.sync.write(png);
}

export const toByte = (value: number): number => Math.min(255, Math.max(0, Math.round(value)));

export function cropped({ width, values }: Luminance, left: number, top: number, newWidth: number, newHeight: number): Luminance {
  const result = new Float32Array(newWidth * newHeight);
  for (let row = 0; row < newHeight; row++) result.set(values.subarray((top + row) * width + left, (top + row) * width + left + newWidth), row * newWidth);
  return { width: newWidth, height: newHeight, values: result };
}
