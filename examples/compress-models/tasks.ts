/** What each network is trained, chosen and tested on. */
import * as tfc from '@tensorflow/tfjs-core';
import { renderedDigits } from '../common/digits.js';
import { countOf, selectImages, toFloats, type DataSet, type LabelledImages } from '../common/images.js';
import { readMnist } from '../common/mnist.js';
import { seededRandom } from '../common/random.js';
import type { Architecture } from './architectures.js';

export interface DataOptions {
  /** Folder with the IDX files of MNIST; without it digits are drawn. */
  data?: string;
  /** Folder with those of Fashion-MNIST, for the networks that ask for it. */
  fashion?: string;
  /** Training images that are used. */
  images: number;
}

/** Share of the noise in what `denoise` begins with: uniform in [−NOISE, NOISE]. */
const NOISE = 0.6;

/** Held-out images that are used, if there are so many. */
const VALIDATION = 5000;

export type Part = 'train' | 'validation' | 'test';

let last: { key: string; set: DataSet } | null = null;

function dataSet(options: DataOptions, fashion: boolean): DataSet {
  const directory = fashion && options.fashion !== undefined ? options.fashion : options.data;
  const key = `${directory} ${options.images}`;
  if (last?.key !== key) last = { key, set: directory === undefined ? renderedDigits(options.images, 2000, 2000) : readMnist(directory) };
  return last.set;
}

/** Inputs and targets of one part. The caller disposes of them. */
export function tensorsOf(architecture: Architecture, options: DataOptions, part: Part): { x: tfc.Tensor; y: tfc.Tensor; origin: string } {
  const set = dataSet(options, architecture.fashion === true);
  const all = set[part];
  const images = part === 'train' ? first(all, options.images) : part === 'validation' ? first(all, VALIDATION) : all;
  const count = countOf(images);
  const pixels = toFloats(images);
  if (architecture.task === 'classify') {
    return { origin: set.origin, x: tfc.tensor(pixels, [count, ...architecture.inputShape]), y: tfc.tidy(() => tfc.cast(tfc.oneHot(tfc.tensor1d(images.labels, 'int32'), 10), 'float32')) };
  }
  const random = seededRandom(part === 'train' ? 1 : part === 'validation' ? 2 : 3);
  const noisy = pixels.map((p) => Math.min(1, Math.max(0, p + random.between(-NOISE, NOISE))));
  return { origin: set.origin, x: tfc.tensor(noisy, [count, ...architecture.inputShape]), y: tfc.tensor(pixels, [count, ...architecture.inputShape]) };
}

const first = (images: LabelledImages, count: number): LabelledImages => selectImages(images, Array.from({ length: Math.min(count, countOf(images)) }, (_, i) => i));
