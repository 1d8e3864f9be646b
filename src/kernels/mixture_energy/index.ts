/** −Σ log p(w) of weights under a Gaussian mixture, differentiable in the weights, with the sums that train the mixture. */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, Scalar, Tensor, Tensor1D } from '@tensorflow/tfjs-core';
import { deviceEnergy } from './device_energy.js';
import { MIXTURE_ENERGY, type MixtureEnergyAttrs } from './host_kernel.js';
import { emptyStatistics, type Mixture, type MixtureStatistics } from './mixture.js';
import { TabulatedEnergy } from './tabulated_energy.js';

/** Whether the active backend evaluates the energy in this process's memory, so that weights can be read inside a step. */
export const isReadInsideStep = (): boolean => tfc.getKernel(MIXTURE_ENERGY, tfc.getBackend()) !== undefined;

/**
 * Evaluates the energy of several weight tensors under one mixture, a round at a time: {@link begin}, then {@link of} for
 * each tensor, then {@link statistics}. Where the backend has a `MixtureEnergy` kernel the table is used, else operations.
 */
export class MixtureEnergy {
  readonly #table = new TabulatedEnergy();
  readonly #keepsSums: boolean;
  #mixture: Mixture | null = null;
  #tableIsSet = false;
  #deviceSums: Tensor1D[] = [];
  #deviceCount = 0;

  /** @param keepsSums whether {@link statistics} will be asked for: on a GPU the sums then stay there until it is. */
  constructor({ keepsSums = true } = {}) {
    this.#keepsSums = keepsSums;
  }

  /** Starts a round with this mixture and forgets the sums of the last one. */
  begin(mixture: Mixture): void {
    this.#mixture = mixture;
    this.#tableIsSet = false;
    this.#deviceCount = 0;
    this.#forgetDeviceSums();
  }

  /**
   * scale · −Σ log p(w) in nats: a scalar whose gradient with respect to `weight` was computed in the same pass.
   * @throws Error if no round was begun.
   */
  of(weight: Tensor, scale: number): Scalar {
    const mixture = this.#mixture;
    if (mixture === null) throw new Error('MixtureEnergy: call begin(mixture) before of(weight).');
    return tfc.customGrad((w: Tensor | object, save?: unknown) => {
      const [energy, gradient] = this.#evaluate(w as Tensor, mixture, scale);
      (save as (tensors: Tensor[]) => void)([gradient]);
      return { value: energy, gradFunc: (dy: Tensor, saved: Tensor[]) => tfc.mul(dy, saved[0]) };
    })(weight) as Scalar;
  }

  /** The sums of this round, and whether a weight was not finite. Waits for a GPU, never inside a step. */
  async statistics(): Promise<MixtureStatistics & { nonFinite: boolean }> {
    const components = this.#mixture?.means.length ?? 0;
    const total = this.#tableIsSet ? this.#table.statistics() : emptyStatistics(components);
    let nonFinite = this.#tableIsSet && this.#table.nonFinite;
    const sums = this.#deviceSums;
    this.#deviceSums = [];
    total.count += this.#deviceCount;
    for (const tensor of sums) {
      const values = await tensor.data();
      tensor.dispose();
      for (let j = 0; j < components; j++) {
        total.responsibility[j] += values[j];
        total.first[j] += values[components + j];
        total.second[j] += values[2 * components + j];
      }
      total.energy += values[3 * components];
      nonFinite ||= values.some((value) => !Number.isFinite(value));
    }
    return { ...total, nonFinite };
  }

  /** Frees what the last round keeps on a GPU. */
  dispose(): void {
    this.#forgetDeviceSums();
  }

  #evaluate(weight: Tensor, mixture: Mixture, scale: number): [Scalar, Tensor] {
    if (isReadInsideStep()) {
      const table = this.#table;
      if (!this.#tableIsSet) {
        table.reset(mixture);
        this.#tableIsSet = true;
      }
      const attrs: MixtureEnergyAttrs = { table, scale };
      const [energy, gradient] = tfc.engine().runKernel<Tensor[]>(MIXTURE_ENERGY, { weight }, attrs as unknown as NamedAttrMap);
      return [energy as Scalar, gradient];
    }
    const { energy, gradient, sums } = deviceEnergy(weight, mixture);
    if (this.#keepsSums) {
      this.#deviceSums.push(tfc.keep(sums));
      this.#deviceCount += weight.size;
    }
    return [tfc.mul(scale, energy), tfc.mul(scale, gradient)];
  }

  #forgetDeviceSums(): void {
    for (const tensor of this.#deviceSums) tensor.dispose();
    this.#deviceSums = [];
  }
}
