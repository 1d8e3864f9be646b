/**
 * The main job: LeNet-300-100 is trained, its weights are pulled onto a learned Gaussian mixture, merged, quantised and saved
 * to a file 75–100 times smaller, loaded again by stock `loadLayersModel`, evaluated, and reported with pictures.
 */
import * as tfl from '@tensorflow/tfjs-layers';
import type { Command } from 'commander';
import { compressionCommand } from '../common/compression/command.js';
import type { CompressionExample } from '../common/compression/example.js';
import { MNIST_SETTINGS, RENDERED_SETTINGS } from './settings.js';

export const EXAMPLE: CompressionExample = {
  name: 'compress-mnist',
  network: 'LeNet-300-100',
  description: 'Trains LeNet-300-100 and makes it 75–100 times smaller. Without --data and --download it draws its own digits.',
  inputShape: (width, height) => [width * height],
  build: lenet300100,
  settings: { idx: MNIST_SETTINGS, rendered: RENDERED_SETTINGS },
};

export function command(): Command {
  return compressionCommand(EXAMPLE);
}

/** LeNet-300-100: a network of three dense layers (LeCun et al. 1998), the usual subject of papers on compression. */
function lenet300100(shape: number[], seed: number): tfl.LayersModel {
  const dense = (units: number, activation: 'relu' | 'softmax', index: number) =>
    tfl.layers.dense({ units, activation, name: `dense_${index}`, kernelInitializer: tfl.initializers.glorotUniform({ seed: 10 * seed + index }) });
  const input = tfl.input({ shape });
  let x = dense(300, 'relu', 1).apply(input) as tfl.SymbolicTensor;
  x = dense(100, 'relu', 2).apply(x) as tfl.SymbolicTensor;
  const output = dense(10, 'softmax', 3).apply(x) as tfl.SymbolicTensor;
  return tfl.model({ inputs: input, outputs: output });
}
