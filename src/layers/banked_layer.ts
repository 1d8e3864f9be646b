/** What layers on a parameter bank have in common: the weights that they make of it, and how they are seen from outside. */
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { layers, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkKeys, describe } from '../checks.js';
import type { LayerArgs, LayerVariable } from '../host.js';
import type { SymbolicInputs } from './bank_use.js';
import { bankedConfig, type BankedArgs } from './banked_options.js';
import { BankedWeights } from './banked_weights.js';
import type { ParameterBank } from './parameter_bank.js';

/** A layer whose weights are made of windows of a {@link ParameterBank}. */
export abstract class BankedLayer extends layers.Layer {
  protected readonly weightsOfBank: BankedWeights;

  /** @param required the options that must be there, in words. @throws Error for unknown options and what {@link BankedArgs} does not allow. */
  constructor(who: string, args: BankedArgs & LayerArgs, options: readonly string[], required: string) {
    super(args ?? {});
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with ${required}, got ${describe(args)}.`);
    checkKeys(who, args, options);
    this.weightsOfBank = new BankedWeights(who, this, args);
  }

  /** α, [candidates], with learned weights; null before the layer is built and otherwise. */
  get coefficients(): LayerVariable | null {
    return this.weightsOfBank.coefficients;
  }

  /** The bank; null before the layer is applied in a model, and where the numbers come from outside of it. */
  get bank(): ParameterBank | null {
    return this.weightsOfBank.use.owner;
  }

  /** How many weights the layer makes of the bank's numbers; 0 before it is built. */
  get bankedWeights(): number {
    return this.weightsOfBank.count;
  }

  /** How many numbers a bank must have to serve it with `candidates`, by default as many as it has; the layer is built. */
  leastNumbers(candidates = this.weightsOfBank.options.candidates): number {
    return Math.max(candidates, this.weightsOfBank.least);
  }

  override apply(inputs: SymbolicInputs, kwargs?: object): Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[] {
    this.weightsOfBank.use.onApply(inputs);
    return super.apply(inputs, kwargs as never);
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.weightsOfBank.dispose();
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    return { ...super.getConfig(), bank: this.weightsOfBank.use.config(), ...bankedConfig(this.weightsOfBank.options) };
  }
}
