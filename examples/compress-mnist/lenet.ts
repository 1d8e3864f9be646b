/** LeNet-300-100: a network of three dense layers (LeCun et al. 1998), the usual subject of papers on compression. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { countOf, toFloats, type LabelledImages } from '../common/images.js';

export function lenet300100(inputs: number, seed: number): tfl.LayersModel {
  const dense = (units: number, activation: 'relu' | 'softmax', index: number) =>
    tfl.layers.dense({ units, activation, name: `dense_${index}`, kernelInitializer: tfl.initializers.glorotUniform({ seed: 10 * seed + index }) });
  const input = tfl.input({ shape: [inputs] });
  let x = dense(300, 'relu', 1).apply(input) as tfl.SymbolicTensor;
  x = dense(100, 'relu', 2).apply(x) as tfl.SymbolicTensor;
  const output = dense(10, 'softmax', 3).apply(x) as tfl.SymbolicTensor;
  return tfl.model({ inputs: input, outputs: output });
}

export function compile(model: tfl.LayersModel, learningRate: number): void {
  model.compile({ optimizer: tfc.train.adam(learningRate), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
}

export interface ImageTensors {
  xs: tfc.Tensor2D;
  ys: tfc.Tensor2D;
}

export function toTensors(data: LabelledImages): ImageTensors {
  return tfc.tidy(() => ({
    xs: tfc.tensor2d(toFloats(data), [countOf(data), data.width * data.height]),
    ys: tfc.cast(tfc.oneHot(tfc.tensor1d(data.labels, 'int32'), 10), 'float32') as tfc.Tensor2D,
  }));
}

/** Percent of the images whose most probable class is wrong. */
export async function errorPercent(model: tfl.LayersModel, data: LabelledImages): Promise<number> {
  const pixels = data.width * data.height;
  const batch = 1000;
  let wrong = 0;
  for (let start = 0; start < countOf(data); start += batch) {
    const end = Math.min(start + batch, countOf(data));
    const part = { ...data, images: data.images.subarray(start * pixels, end * pixels), labels: data.labels.subarray(start, end) };
    const classes = tfc.tidy(() => tfc.argMax(model.predict(tfc.tensor2d(toFloats(part), [end - start, pixels])) as tfc.Tensor, 1));
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

/** The parameters of a model, biases included. */
export function parameterCount(model: tfl.LayersModel): number {
  return model.getWeights().reduce((sum, w) => sum + w.size, 0);
}
