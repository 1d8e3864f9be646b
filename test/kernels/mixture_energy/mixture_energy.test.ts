import * as tfc from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { deviceEnergy } from '../../../src/kernels/mixture_energy/device_energy.js';
import { MixtureEnergy } from '../../../src/kernels/mixture_energy/index.js';
import { relativeError } from '../../helpers.js';
import { BOUND, cases, gradientsOf } from './cases.js';

describe('MixtureEnergy', () => {
  const { c, mixture } = cases[2];

  it('is differentiable in the weight and gives the sums of the round, on this backend', async () => {
    const energy = new MixtureEnergy();
    const [a, b] = [tfc.tensor2d(c.w.slice(0, 200), [20, 10]), tfc.tensor1d(c.w.slice(200))];
    energy.begin(mixture);
    const { value, grads } = tfc.valueAndGrads((x, y) => tfc.add(energy.of(x, 0.5), energy.of(y, 0.5)) as tfc.Scalar)([a, b]);
    expect((await value.data())[0] / (0.5 * c.nll)).toBeCloseTo(1, 4);
    const gradient = [...(await grads[0].data()), ...(await grads[1].data())];
    expect(relativeError(gradient, c.dNll_dw.map((g) => 0.5 * g))).toBeLessThan(BOUND); // prettier-ignore
    expect(grads[0].shape).toEqual([20, 10]);
    const sums = await energy.statistics();
    expect(sums.nonFinite).toBe(false);
    expect(sums.energy / c.nll).toBeCloseTo(1, 5);
    expect(relativeError(gradientsOf(sums, mixture).logVariance, c.dNll_dlogVariance)).toBeLessThan(BOUND);
    tfc.dispose([a, b, value, grads]);
  });

  it('refuses a weight before a round is begun', () => {
    expect(() => new MixtureEnergy().of(tfc.scalar(1), 1)).toThrow('MixtureEnergy: call begin(mixture) before of(weight).');
  });

  // float32 all the way, without a table: what webgl and webgpu run.
  it.each(cases)('as composed operations meets golden case $index within float32', async ({ c, mixture }) => {
    const weight = tfc.tensor1d(c.w);
    const { energy, gradient, sums } = deviceEnergy(weight, mixture);
    expect(Math.abs((await energy.data())[0] / c.nll - 1)).toBeLessThan(1e-5);
    expect(relativeError(await gradient.data(), c.dNll_dw)).toBeLessThan(1e-4);
    const values = Array.from(await sums.data());
    const j = c.mu.length;
    const statistics = { count: c.w.length, energy: 0, responsibility: Float64Array.from(values.slice(0, j)), first: Float64Array.from(values.slice(j, 2 * j)), second: Float64Array.from(values.slice(2 * j)) }; // prettier-ignore
    expect(relativeError(gradientsOf(statistics, mixture).mu, c.dNll_dmu)).toBeLessThan(1e-4);
    tfc.dispose([weight, energy, gradient, sums]);
  });

  it('keeps what a GPU backend needs between step and callback, and frees it', async () => {
    // A backend without the kernel takes the composed path: take the kernel away for a moment, where there is one.
    const backendName = tfc.getBackend();
    const kernel = tfc.getKernel('MixtureEnergy', backendName) as tfc.KernelConfig | undefined;
    if (kernel !== undefined) tfc.unregisterKernel('MixtureEnergy', backendName);
    try {
      const energy = new MixtureEnergy();
      const weight = tfc.tensor1d(c.w);
      const before = tfc.memory().numTensors;
      for (let round = 0; round < 3; round++) {
        const gradient = tfc.tidy(() => {
          energy.begin(mixture);
          return tfc.grad((w) => energy.of(w, 1))(weight);
        });
        expect(relativeError(await gradient.data(), c.dNll_dw)).toBeLessThan(1e-4);
        gradient.dispose();
        expect(tfc.memory().numTensors).toBe(before + 1);
      }
      const sums = await energy.statistics();
      expect(tfc.memory().numTensors).toBe(before);
      expect(sums.count).toBe(c.w.length);
      expect(relativeError(gradientsOf(sums, mixture).logVariance, c.dNll_dlogVariance)).toBeLessThan(1e-4);
      weight.dispose();
    } finally {
      if (kernel !== undefined) tfc.registerKernel(kernel);
    }
  });
});
