/** Labelled images, grey or in colour, whatever they come from, and how the examples split them. */
import { seededRandom, shuffledIndices } from './random.js';

export interface LabelledImages {
  /** One byte a pixel and channel, images one after the other, row-major, channels last. */
  images: Uint8Array;
  labels: Uint8Array;
  width: number;
  height: number;
  /** Default 1: grey. */
  channels?: number;
}

export interface DataSet {
  /** Where the images come from, in words: goes into the report. */
  origin: string;
  train: LabelledImages;
  /** Held-out training images: everything is chosen on them. */
  validation: LabelledImages;
  /** Read once, at the end. */
  test: LabelledImages;
}

export function countOf(data: LabelledImages): number {
  return data.labels.length;
}

/** Bytes of one image. */
export function bytesOf({ width, height, channels = 1 }: LabelledImages): number {
  return width * height * channels;
}

/** The images at the given positions, in that order. */
export function selectImages(data: LabelledImages, positions: ArrayLike<number>): LabelledImages {
  const pixels = bytesOf(data);
  const images = new Uint8Array(positions.length * pixels);
  const labels = new Uint8Array(positions.length);
  for (let i = 0; i < positions.length; i++) {
    images.set(data.images.subarray(positions[i] * pixels, (positions[i] + 1) * pixels), i * pixels);
    labels[i] = data.labels[positions[i]];
  }
  return { ...data, images, labels };
}

/** Holds `held` images out, chosen at random by a fixed seed so that every run and every seed validates on the same ones. */
export function holdOut(data: LabelledImages, held: number): { kept: LabelledImages; heldOut: LabelledImages } {
  if (!Number.isInteger(held) || held < 1 || held >= countOf(data)) {
    throw new Error(`holdOut: cannot hold ${held} of ${countOf(data)} images out. Give a number between 1 and ${countOf(data) - 1}.`);
  }
  const order = shuffledIndices(countOf(data), seededRandom(5000));
  return { kept: selectImages(data, order.subarray(held).sort()), heldOut: selectImages(data, order.subarray(0, held).sort()) };
}

/** Pixels as float32 in [0, 1]. */
export function toFloats(data: LabelledImages): Float32Array {
  return Float32Array.from(data.images, (byte) => byte / 255);
}
