/** The data sets, cut to size, and batches of them: standardised by the training images' mean and spread of each channel, mirrored and moved at random. */
import { readCifar } from '../common/cifar.js';
import { renderedDigits } from '../common/digits.js';
import { bytesOf, countOf, selectImages, type DataSet, type LabelledImages } from '../common/images.js';
import { readMnist } from '../common/mnist.js';
import { shuffledIndices, type Random } from '../common/random.js';
import type { Settings } from './settings.js';

export const SET_NAMES = ['cifar', 'fashion', 'drawn'] as const;
export type SetName = (typeof SET_NAMES)[number];

/** Where the sets are; null: not given. */
export interface Directories {
  cifar: string | null;
  fashion: string | null;
}

export interface Standard {
  mean: number[];
  deviation: number[];
}

export interface PreparedSet extends DataSet {
  standard: Standard;
  /** Whether images may be mirrored: objects, not digits. */
  mirrors: boolean;
}

/** Those that are given; without any, digits drawn here. */
export function readSets({ cifar, fashion }: Directories, { data: { train, heldOut, test } }: Settings): Partial<Record<SetName, PreparedSet>> {
  const cut = (set: DataSet): PreparedSet => prepared({ ...set, train: first(set.train, train), test: first(set.test, test) }, set.origin !== 'MNIST');
  const sets: Partial<Record<SetName, PreparedSet>> = {};
  if (cifar !== null) sets.cifar = cut(readCifar(cifar, heldOut));
  if (fashion !== null) sets.fashion = cut(readMnist(fashion, heldOut));
  if (cifar === null && fashion === null) sets.drawn = prepared(renderedDigits(train, heldOut, test), false);
  return sets;
}

const first = (data: LabelledImages, count: number): LabelledImages => (countOf(data) <= count ? data : selectImages(data, Uint32Array.from({ length: count }, (_, i) => i)));

const prepared = (set: DataSet, mirrors: boolean): PreparedSet => ({ ...set, standard: standardOf(set.train), mirrors });

/** Mean and standard deviation of each channel, of bytes. */
export function standardOf({ images, channels = 1 }: LabelledImages): Standard {
  const sums = Array.from({ length: channels }, () => [0, 0]);
  images.forEach((byte, i) => {
    sums[i % channels][0] += byte;
    sums[i % channels][1] += byte * byte;
  });
  const count = images.length / channels;
  const mean = sums.map(([sum]) => sum / count);
  return { mean, deviation: sums.map(([, squares], c) => Math.sqrt(Math.max(squares / count - mean[c] ** 2, 1))) };
}

export interface Augmentation {
  random: Random;
  mirrors: boolean;
  shift: number;
}

/** The images at `positions`, standardised; mirrored and moved at random where `augmentation` is given, with the mean in what comes from outside. */
export function pixelsOf(data: LabelledImages, positions: ArrayLike<number>, { mean, deviation }: Standard, augmentation: Augmentation | null): Float32Array {
  const { images, width, height, channels = 1 } = data;
  const bytes = bytesOf(data);
  const result = new Float32Array(positions.length * bytes);
  for (let i = 0; i < positions.length; i++) {
    const mirrored = augmentation !== null && augmentation.mirrors && augmentation.random.uniform() < 0.5;
    const [down, across] = [0, 0].map(() => (augmentation === null ? 0 : augmentation.random.integer(2 * augmentation.shift + 1) - augmentation.shift));
    for (let y = 0; y < height; y++) {
      const fromY = y + down;
      if (fromY < 0 || fromY >= height) continue;
      for (let x = 0; x < width; x++) {
        const fromX = (mirrored ? width - 1 - x : x) + across;
        if (fromX < 0 || fromX >= width) continue;
        for (let c = 0; c < channels; c++) {
          result[i * bytes + (y * width + x) * channels + c] = (images[positions[i] * bytes + (fromY * width + fromX) * channels + c] - mean[c]) / deviation[c];
        }
      }
    }
  }
  return result;
}

/** All positions once, in random order, in batches; the last may be smaller. */
export function shuffledBatches(count: number, batchSize: number, random: Random): Uint32Array[] {
  const order = shuffledIndices(count, random);
  return Array.from({ length: Math.ceil(count / batchSize) }, (_, i) => order.subarray(i * batchSize, (i + 1) * batchSize));
}

export const inputShapeOf = ({ train: { height, width, channels = 1 } }: DataSet): [number, number, number] => [height, width, channels];
