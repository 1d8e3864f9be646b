/**
 * `MixtureEnergy` for backends whose tensors live in this process's memory: reading them inside a step costs a copy, so the
 * table is looked up in JavaScript.
 */
import { registerKernel, type KernelBackend, type TensorInfo } from '@tensorflow/tfjs-core';
import type { TabulatedEnergy } from './tabulated_energy.js';

export const MIXTURE_ENERGY = 'MixtureEnergy';

export interface MixtureEnergyAttrs {
  table: TabulatedEnergy;
  scale: number;
}

for (const backendName of ['cpu', 'wasm', 'tensorflow']) {
  registerKernel({
    kernelName: MIXTURE_ENERGY,
    backendName,
    kernelFunc: ({ inputs, backend, attrs }) => {
      const { weight } = inputs as unknown as { weight: TensorInfo };
      const { table, scale } = attrs as unknown as MixtureEnergyAttrs;
      const host = backend as KernelBackend;
      const gradient = new Float32Array(weight.shape.reduce((product, size) => product * size, 1));
      const energy = scale * table.accumulate(host.readSync(weight.dataId) as Float32Array, gradient, scale);
      const output = (values: Float32Array, shape: number[]): TensorInfo => ({
        dataId: host.write(values, shape, 'float32'),
        shape,
        dtype: 'float32',
      });
      return [output(Float32Array.of(energy), []), output(gradient, weight.shape)];
    },
  });
}
