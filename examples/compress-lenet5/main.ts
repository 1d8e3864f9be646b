/**
 * LeNet-5 as Caffe ships it (two linear convolutions with max-pooling, then 500 rectified units), compressed as LeNet-300-100 is
 * in `compress-mnist`: the second network of Ullrich, Meeds & Welling, ICLR 2017, table 1.
 */
import * as tfl from '@tensorflow/tfjs-layers';
import type { Command } from 'commander';
import { compressionCommand } from '../common/compression/command.js';
import type { CompressionExample } from '../common/compression/example.js';
import { LENET5_SETTINGS, RENDERED_SETTINGS } from './settings.js';

export const EXAMPLE: CompressionExample = {
  name: 'compress-lenet5',
  network: 'LeNet-5-Caffe',
  description: 'Trains LeNet-5-Caffe, a convolutional network, and makes it more than a hundred times smaller. Without --data and --download it draws its own digits.',
  inputShape: (width, height) => [height, width, 1],
  build: lenet5Caffe,
  settings: { idx: LENET5_SETTINGS, rendered: RENDERED_SETTINGS },
};

export function command(): Command {
  return compressionCommand(EXAMPLE);
}

/** 431 080 parameters on 28 × 28 images. */
function lenet5Caffe(inputShape: number[], seed: number): tfl.LayersModel {
  const initial = (index: number) => ({ kernelInitializer: tfl.initializers.glorotUniform({ seed: 10 * seed + index }) });
  const input = tfl.input({ shape: inputShape });
  const layers = [
    tfl.layers.conv2d({ filters: 20, kernelSize: 5, name: 'conv_1', ...initial(1) }),
    tfl.layers.maxPooling2d({ poolSize: 2, name: 'pool_1' }),
    tfl.layers.conv2d({ filters: 50, kernelSize: 5, name: 'conv_2', ...initial(2) }),
    tfl.layers.maxPooling2d({ poolSize: 2, name: 'pool_2' }),
    tfl.layers.flatten({ name: 'flatten' }),
    tfl.layers.dense({ units: 500, activation: 'relu', name: 'dense_1', ...initial(3) }),
    tfl.layers.dense({ units: 10, activation: 'softmax', name: 'dense_2', ...initial(4) }),
  ];
  const output = layers.reduce((x, layer) => layer.apply(x) as tfl.SymbolicTensor, input);
  return tfl.model({ inputs: input, outputs: output });
}
