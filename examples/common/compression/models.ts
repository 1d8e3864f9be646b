/** What the examples do with a classifier of images: compile it, feed it, count its errors, take and put its weights. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { countOf, toFloats, type LabelledImages } from '../images.js';

export function compile(model: tfl.LayersModel, learningRate: number): void {
  model.compile({ optimizer: tfc.train.adam(learningRate), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
}

export interface ImageTensors {
  xs: tfc.Tensor;
  ys: tfc.Tensor2D;
}

/** Images as inputs of a network that takes `shape` per image (default: pixels in a row), labels as one-hot rows. */
export function toTensors(data: LabelledImages, shape: readonly number[] = [data.width * data.height]): ImageTensors {
  return tfc.tidy(() => ({
    xs: tfc.tensor(toFloats(data), [countOf(data), ...shape]),
    ys: tfc.cast(tfc.oneHot(tfc.tensor1d(data.labels, 'int32'), 10), 'float32') as tfc.Tensor2D,
  }));
}

/** Percent of the images whose most probable class is wrong. */
export async function errorPercent(model: tfl.LayersModel, data: LabelledImages): Promise<number> {
  const pixels = data.width * data.height;
  const shape = model.inputs[0].shape.slice(1) as number[];
  const batch = 1000;
  let wrong = 0;
  for (let start = 0; start < countOf(data); start += batch) {
    const end = Math.min(start + batch, countOf(data));
    const part = { ...data, images: data.images.subarray(start * pixels, end * pixels), labels: data.labels.subarray(start, end) };
    const classes = tfc.tidy(() => tfc.argMax(model.predict(tfc.tensor(toFloats(part), [end - start, ...shape])) as tfc.Tensor, 1));
    const predicted = await classes.data();
    classes.dispose();
    for (let i = 0; i < predicted.length; i++) if (predicted[i] !== part.labels[i]) wrong++;
  }
  return (100 * wrong) / countOf(data);
}

/** Copies of all weights in the model's order. */
export async function weightsOf(model: tfl.LayersModel): Promise<Float32Array[]> {
  return Promise.all(model.getWeights().map(async (w) => Float32Array.from(await w.data())));
}

export function setWeights(model: tfl.LayersModel, values: readonly Float32Array[]): void {
  tfc.tidy(() => model.setWeights(model.getWeights().map((w, i) => tfc.tensor(values[i], w.shape))));
}

/** Positions of the kernels among the weights; the others are biases. */
export function kernelPositions(model: tfl.LayersModel): number[] {
  return model.getWeights().flatMap((w, i) => (w.rank > 1 ? [i] : []));
}

/** The layers that hold weights, in the model's order. */
export function layersWithWeights(model: tfl.LayersModel): tfl.layers.Layer[] {
  return model.layers.filter(({ weights }) => weights.length > 0);
}

/** The parameters of a model, biases included. */
export function parameterCount(model: tfl.LayersModel): number {
  return model.getWeights().reduce((sum, w) => sum + w.size, 0);
}
