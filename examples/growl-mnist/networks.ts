/** The three networks, and which of their kernels the penalty is put on. */
import * as tfl from '@tensorflow/tfjs-layers';

export const NETWORKS = ['mlp', 'lenet', 'vgg'] as const;
export type NetworkName = (typeof NETWORKS)[number];

export const NETWORK_TITLES: Record<NetworkName, string> = { mlp: '784-300-10', lenet: 'LeNet-300-100', vgg: 'VGG-like' };

/** Layers whose kernels have rows to share: all but the last, and for the convolutions but the first, as the paper has it. */
export const PENALISED: Record<NetworkName, readonly string[]> = {
  mlp: ['dense_1'],
  lenet: ['dense_1', 'dense_2'],
  vgg: ['conv_2', 'conv_3', 'conv_4', 'dense_1'],
};

type Tensor = tfl.SymbolicTensor;

/** Images of `size` × `size` pixels as vectors → ten classes. */
export function newNetwork(name: NetworkName, size: number, seed: number): tfl.LayersModel {
  let count = 0;
  const initializer = (kind: 'glorotUniform' | 'heNormal') => tfl.initializers[kind]({ seed: 100 * seed + count++ });
  const dense = (units: number, activation: 'relu' | 'softmax', layer: string) => (x: Tensor) =>
    tfl.layers.dense({ units, activation, name: layer, kernelInitializer: initializer('glorotUniform') }).apply(x) as Tensor;
  const norm = (layer: string) => (x: Tensor) => tfl.layers.batchNormalization({ momentum: 0.9, name: layer }).apply(x) as Tensor;
  const conv = (filters: number, layer: string) => (x: Tensor) => {
    const y = tfl.layers.conv2d({ filters, kernelSize: 3, padding: 'same', activation: 'relu', name: layer, kernelInitializer: initializer('heNormal') }).apply(x);
    return norm(`${layer}_norm`)(y as Tensor);
  };
  const pool = (x: Tensor) => tfl.layers.maxPooling2d({ poolSize: 2 }).apply(x) as Tensor;
  const image = (x: Tensor) => tfl.layers.reshape({ targetShape: [size, size, 1] }).apply(x) as Tensor;
  const flat = (x: Tensor) => tfl.layers.flatten().apply(x) as Tensor;
  const layers: Record<NetworkName, ((x: Tensor) => Tensor)[]> = {
    mlp: [dense(300, 'relu', 'dense_1'), norm('norm_1'), dense(10, 'softmax', 'dense_2')],
    lenet: [dense(300, 'relu', 'dense_1'), dense(100, 'relu', 'dense_2'), dense(10, 'softmax', 'dense_3')],
    vgg: [image, conv(8, 'conv_1'), pool, conv(16, 'conv_2'), conv(16, 'conv_3'), pool, conv(32, 'conv_4'), flat, dense(64, 'relu', 'dense_1'), norm('norm_1'), dense(10, 'softmax', 'dense_2')],
  };
  const inputs = tfl.input({ shape: [size * size] });
  return tfl.model({ inputs, outputs: layers[name].reduce((x, layer) => layer(x), inputs) });
}
