/** What the networks are put together from: operations on symbolic tensors. */
import * as tfl from '@tensorflow/tfjs-layers';
import type { SymbolicTensor } from '@tensorflow/tfjs-layers';

export const CLASSES = 10;
export const NORMALIZATION = { momentum: 0.9, epsilon: 1e-5 };

export const applied = (layer: { apply(x: never): unknown }, x: SymbolicTensor | SymbolicTensor[]): SymbolicTensor => layer.apply(x as never) as SymbolicTensor;

export const convolution = (filters: number) => tfl.layers.conv2d({ filters, kernelSize: 3, padding: 'same', useBias: false, kernelInitializer: 'heNormal' });

export const relu = (x: SymbolicTensor): SymbolicTensor => applied(tfl.layers.activation({ activation: 'relu' }), x);
export const normalized = (x: SymbolicTensor): SymbolicTensor => applied(tfl.layers.batchNormalization(NORMALIZATION), x);
export const halved = (x: SymbolicTensor): SymbolicTensor => applied(tfl.layers.maxPooling2d({ poolSize: 2, strides: 2, padding: 'same' }), x);
