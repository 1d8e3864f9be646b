/** Images to train on, to choose by and to test on: those of folders, or made up. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cropped, readLuminance, type Luminance } from '../common/luminance.js';
import { seededRandom, shuffledIndices, type Random } from '../common/random.js';
import { psnr } from './quality.js';
import { degraded } from './resize.js';
import { SCALES } from './settings.js';

export interface SuperResolutionData {
  /** Where the images come from, in words. */
  origin: string;
  train: Luminance[];
  heldOut: Luminance[];
  /** Read once for each network, at the end. */
  test: { name: string; image: Luminance }[];
}

/** An image, and what is left of it at each scale, by scale. */
export interface Pairs {
  sharp: Luminance;
  blurred: Map<number, Luminance>;
}

const FOLDERS = { train: ['sr-t91', 'T91', 't91'], test: ['sr-set5', 'Set5', 'set5'] };

/** Images in the folders `sr-t91` (or T91) and `sr-set5` (or Set5) of `directory`, as PNG files. */
export function readImages(directory: string, heldOut: number): SuperResolutionData {
  const [train, test] = [FOLDERS.train, FOLDERS.test].map((names) => imagesIn(directory, names));
  return { origin: 'T91 (Yang et al. 2010) and Set5 (Bevilacqua et al. 2012)', ...held(train.map(({ image }) => image), heldOut), test };
}

function imagesIn(directory: string, names: readonly string[]): { name: string; image: Luminance }[] {
  const folder = names.map((name) => join(directory, name)).find(existsSync);
  if (folder === undefined) throw new Error(`${directory}: expected a folder ${names.join(' or ')} of PNG images in it.`);
  const files = readdirSync(folder).filter((file) => file.endsWith('.png')).sort(); // prettier-ignore
  if (files.length === 0) throw new Error(`${folder}: there are no PNG images in it.`);
  return files.map((file) => ({ name: file.replace(/\.png$/, ''), image: readLuminance(join(folder, file)) }));
}

function held(images: Luminance[], count: number): Pick<SuperResolutionData, 'train' | 'heldOut'> {
  if (count < 1 || count >= images.length) throw new Error(`super-resolution: cannot hold ${count} of ${images.length} images out.`);
  // The same ones in every run.
  const order = Array.from(shuffledIndices(images.length, seededRandom(5000)));
  return { train: order.slice(count).map((i) => images[i]), heldOut: order.slice(0, count).map((i) => images[i]) };
}

/** Scenes of overlapping discs and bars with sharp edges and fine stripes, which bicubic interpolation blurs. */
export function generatedImages(heldOut: number): SuperResolutionData {
  const random = seededRandom(77);
  const images = Array.from({ length: 20 }, () => scene(96, random));
  return { origin: 'generated scenes', ...held(images.slice(4), heldOut), test: images.slice(0, 4).map((image, i) => ({ name: `scene ${i + 1}`, image })) };
}

function scene(size: number, random: Random): Luminance {
  const values = new Float32Array(size * size).fill(random.between(60, 180));
  for (let shape = 0; shape < 14; shape++) {
    const [x, y, radius, angle] = [random.between(0, size), random.between(0, size), random.between(6, 26), random.between(0, Math.PI)];
    const [level, period, disc] = [random.between(20, 235), random.between(3, 9), random.uniform() < 0.5];
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        const along = (column - x) * Math.cos(angle) + (row - y) * Math.sin(angle);
        const across = (row - y) * Math.cos(angle) - (column - x) * Math.sin(angle);
        const inside = disc ? along ** 2 + across ** 2 < radius ** 2 : Math.abs(along) < radius && Math.abs(across) < radius / 3;
        if (inside) values[row * size + column] = shape % 3 === 0 ? level + 20 * Math.sign(Math.sin((2 * Math.PI * along) / period)) : level;
      }
    }
  }
  return { width: size, height: size, values: values.map((value) => Math.min(235, Math.max(16, Math.round(value)))) };
}

/** The largest part of `image` whose sides are multiples of `scale`, as the papers cut it. */
export const cutTo = (image: Luminance, scale: number): Luminance => cropped(image, 0, 0, image.width - (image.width % scale), image.height - (image.height % scale));

/** For training: cut so that all scales fit. */
export function pairsOf(image: Luminance): Pairs {
  const sharp = cutTo(image, 12);
  return { sharp, blurred: new Map(SCALES.map((scale) => [scale, degraded(sharp, scale)])) };
}

export interface Batch {
  size: number;
  patch: number;
  /** Interpolated, 0 … 1. */
  inputs: Float32Array;
  /** Sharp, 0 … 1. */
  targets: Float32Array;
  /** How much each patch counts, by its scale. */
  weights: Float32Array;
}

/** 1 / mean squared error of interpolation at each scale, over their mean: without them nearly all of the loss is that of the largest scale. */
export function scaleWeights(pairs: readonly Pairs[]): Map<number, number> {
  const inverse = SCALES.map((scale) => pairs.length / pairs.reduce((total, { sharp, blurred }) => total + 255 ** 2 / 10 ** (psnr(blurred.get(scale)!, sharp) / 10), 0));
  const mean = inverse.reduce((total, each) => total + each) / inverse.length;
  return new Map(SCALES.map((scale, i) => [scale, inverse[i] / mean]));
}

/** Patches of random images at random places and scales, turned and mirrored at random. */
export function randomBatch(pairs: readonly Pairs[], weightOf: ReadonlyMap<number, number>, size: number, patch: number, random: Random): Batch {
  const weights = new Float32Array(size);
  const [inputs, targets] = [new Float32Array(size * patch * patch), new Float32Array(size * patch * patch)];
  const usable = pairs.filter(({ sharp }) => sharp.width >= patch && sharp.height >= patch);
  if (usable.length === 0) throw new Error(`super-resolution: no training image is as large as the patches, ${patch} × ${patch}. Use --set training.patch=… with a smaller one.`);
  for (let i = 0; i < size; i++) {
    const { sharp, blurred } = usable[random.integer(usable.length)];
    const scale = SCALES[random.integer(SCALES.length)];
    const source = blurred.get(scale)!;
    weights[i] = weightOf.get(scale)!;
    const [left, top] = [random.integer(sharp.width - patch + 1), random.integer(sharp.height - patch + 1)];
    const [transposed, flipX, flipY] = [random.uniform() < 0.5, random.uniform() < 0.5, random.uniform() < 0.5];
    for (let row = 0; row < patch; row++) {
      for (let column = 0; column < patch; column++) {
        const [r, c] = transposed ? [column, row] : [row, column];
        const from = (top + (flipY ? patch - 1 - r : r)) * sharp.width + left + (flipX ? patch - 1 - c : c);
        const to = (i * patch + row) * patch + column;
        inputs[to] = source.values[from] / 255;
        targets[to] = sharp.values[from] / 255;
      }
    }
  }
  return { size, patch, inputs, targets, weights };
}
