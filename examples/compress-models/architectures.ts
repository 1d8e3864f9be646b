/** Six networks of six kinds, all on images of 28 × 28: what they are, what they learn, and how a result counts in points. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { multiHeadAttention, positionEmbedding, quickLayerNormalization } from 'tfjs-weight-sharing';

export interface Architecture {
  build(): tfl.LayersModel;
  /** Shape of one input. */
  inputShape: number[];
  /** `classify` images; `denoise` them: points are classes right, or pixels right after rounding, in per cent. */
  task: 'classify' | 'denoise';
  /** Uses the second data set where one is given. */
  fashion?: boolean;
  epochs: number;
}

const { layers } = tfl;
const SIDE = 28;

/** Glorot's normal draws, by number: a run can be repeated. */
function seeds(): () => ReturnType<typeof tfl.initializers.glorotNormal> {
  let seed = 1;
  return () => tfl.initializers.glorotNormal({ seed: seed++ });
}

function mlp(): tfl.LayersModel {
  const next = seeds();
  return tfl.sequential({
    layers: [
      layers.dense({ units: 300, inputShape: [SIDE * SIDE], activation: 'relu', kernelInitializer: next() }),
      layers.dense({ units: 100, activation: 'relu', kernelInitializer: next() }),
      layers.dense({ units: 10, activation: 'softmax', kernelInitializer: next() }),
    ],
  });
}

/** LeNet-5 as Caffe has it: 20 and 50 kernels of 5 × 5, 500 units. */
function lenet5(): tfl.LayersModel {
  const next = seeds();
  return tfl.sequential({
    layers: [
      layers.conv2d({ filters: 20, kernelSize: 5, inputShape: [SIDE, SIDE, 1], activation: 'relu', kernelInitializer: next() }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.conv2d({ filters: 50, kernelSize: 5, activation: 'relu', kernelInitializer: next() }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.flatten(),
      layers.dense({ units: 500, activation: 'relu', kernelInitializer: next() }),
      layers.dense({ units: 10, activation: 'softmax', kernelInitializer: next() }),
    ],
  });
}

/** Depthwise separable blocks with batch normalisation, as in MobileNet, small. Few steps: running statistics follow faster than by default. */
function mobilenet(): tfl.LayersModel {
  const next = seeds();
  const input = tfl.input({ shape: [SIDE, SIDE, 1] });
  const finish = (x: tfl.SymbolicTensor): tfl.SymbolicTensor => layers.reLU().apply(layers.batchNormalization({ momentum: 0.9 }).apply(x)) as tfl.SymbolicTensor;
  let x = finish(layers.conv2d({ filters: 16, kernelSize: 3, strides: 2, padding: 'same', useBias: false, kernelInitializer: next() }).apply(input) as tfl.SymbolicTensor);
  for (const [filters, strides] of [[32, 1], [64, 2], [64, 1], [128, 2], [128, 1]] as const) {
    x = finish(layers.depthwiseConv2d({ kernelSize: 3, strides, padding: 'same', useBias: false, depthwiseInitializer: next() }).apply(x) as tfl.SymbolicTensor);
    x = finish(layers.conv2d({ filters, kernelSize: 1, useBias: false, kernelInitializer: next() }).apply(x) as tfl.SymbolicTensor);
  }
  const pooled = layers.globalAveragePooling2d({}).apply(x);
  return tfl.model({ inputs: input, outputs: layers.dense({ units: 10, activation: 'softmax', kernelInitializer: next() }).apply(pooled) as tfl.SymbolicTensor });
}

/** Reads an image row by row. */
function lstm(): tfl.LayersModel {
  const next = seeds();
  return tfl.sequential({
    layers: [
      layers.lstm({ units: 96, inputShape: [SIDE, SIDE], kernelInitializer: next(), recurrentInitializer: next() }),
      layers.dense({ units: 10, activation: 'softmax', kernelInitializer: next() }),
    ],
  });
}

/** Two blocks of attention over the rows of an image. */
function transformer(): tfl.LayersModel {
  const next = seeds();
  const width = 64;
  const input = tfl.input({ shape: [SIDE, SIDE] });
  const apply = (layer: tfl.layers.Layer, x: tfl.SymbolicTensor): tfl.SymbolicTensor => layer.apply(x) as tfl.SymbolicTensor;
  let x = apply(positionEmbedding(), apply(layers.dense({ units: width, kernelInitializer: next() }), input));
  for (let block = 0; block < 2; block++) {
    const attended = apply(multiHeadAttention({ numHeads: 4, kernelInitializer: next() }), apply(quickLayerNormalization(), x));
    x = layers.add().apply([x, attended]) as tfl.SymbolicTensor;
    const inner = apply(layers.dense({ units: 2 * width, activation: 'relu', kernelInitializer: next() }), apply(quickLayerNormalization(), x));
    x = layers.add().apply([x, apply(layers.dense({ units: width, kernelInitializer: next() }), inner)]) as tfl.SymbolicTensor;
  }
  const pooled = apply(layers.globalAveragePooling1d({}), apply(quickLayerNormalization(), x));
  return tfl.model({ inputs: input, outputs: apply(layers.dense({ units: 10, activation: 'softmax', kernelInitializer: next() }), pooled) });
}

/** Takes noise out of an image: down twice, up twice, with what was seen on the way down. */
function unet(): tfl.LayersModel {
  const next = seeds();
  const input = tfl.input({ shape: [SIDE, SIDE, 1] });
  const conv = (filters: number, x: tfl.SymbolicTensor): tfl.SymbolicTensor =>
    layers.conv2d({ filters, kernelSize: 3, padding: 'same', activation: 'relu', kernelInitializer: next() }).apply(x) as tfl.SymbolicTensor;
  const join = (deep: tfl.SymbolicTensor, wide: tfl.SymbolicTensor): tfl.SymbolicTensor =>
    layers.concatenate().apply([layers.upSampling2d({ size: [2, 2] }).apply(deep) as tfl.SymbolicTensor, wide]) as tfl.SymbolicTensor;
  const pool = (x: tfl.SymbolicTensor): tfl.SymbolicTensor => layers.maxPooling2d({ poolSize: 2 }).apply(x) as tfl.SymbolicTensor;
  const first = conv(12, input);
  const second = conv(24, pool(first));
  const deep = conv(48, pool(second));
  const back = conv(12, join(conv(24, join(deep, second)), first));
  return tfl.model({ inputs: input, outputs: layers.conv2d({ filters: 1, kernelSize: 1, activation: 'sigmoid', kernelInitializer: next() }).apply(back) as tfl.SymbolicTensor });
}

const IMAGE = [SIDE, SIDE, 1];

export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  mlp: { build: mlp, inputShape: [SIDE * SIDE], task: 'classify', epochs: 8 },
  lenet5: { build: lenet5, inputShape: IMAGE, task: 'classify', epochs: 4 },
  mobilenet: { build: mobilenet, inputShape: IMAGE, task: 'classify', fashion: true, epochs: 6 },
  lstm: { build: lstm, inputShape: [SIDE, SIDE], task: 'classify', epochs: 8 },
  transformer: { build: transformer, inputShape: [SIDE, SIDE], task: 'classify', fashion: true, epochs: 8 },
  unet: { build: unet, inputShape: IMAGE, task: 'denoise', epochs: 3 },
};

/** The loss that a network is trained with. */
export const lossOf = ({ task }: Architecture): string => (task === 'classify' ? 'categoricalCrossentropy' : 'binaryCrossentropy');

/** Per cent right: classes, or pixels after rounding. Predicts in batches. */
export function points(model: tfl.LayersModel, { task }: Architecture, x: tfc.Tensor, y: tfc.Tensor): number {
  const batch = 500;
  let right = 0;
  let count = 0;
  for (let start = 0; start < x.shape[0]; start += batch) {
    const size = Math.min(batch, x.shape[0] - start);
    tfc.tidy(() => {
      const [inputs, wanted] = [tfc.slice(x, start, size), tfc.slice(y, start, size)];
      const got = model.predict(inputs) as tfc.Tensor;
      const equal = task === 'classify' ? tfc.equal(tfc.argMax(got, -1), tfc.argMax(wanted, -1)) : tfc.equal(tfc.greater(got, 0.5), tfc.greater(wanted, 0.5));
      right += tfc.sum(tfc.cast(equal, 'float32')).dataSync()[0];
      count += equal.size;
    });
  }
  return (100 * right) / count;
}
