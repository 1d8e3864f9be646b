/**
 * The one weight of a bank: numbers that one layer owns and several others draw theirs from. They travel along the graph as a tensor without a
 * batch, or are looked up upstream (bank_use.ts).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { DataId, serialization, Tensor } from '@tensorflow/tfjs-core';
import {
  constraintOf, initializerOf, regularizerOf, serialized, variableOf,
  type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier, type Layer, type LayerVariable,
  type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore

export interface BankWeightArgs {
  kernelInitializer?: InitializerIdentifier;
  /** Of the stored numbers, each once, however many layers draw from them. */
  kernelRegularizer?: RegularizerIdentifier;
  /** Of the stored numbers. */
  kernelConstraint?: ConstraintIdentifier;
}

export const BANK_WEIGHT_OPTIONS = ['kernelInitializer', 'kernelRegularizer', 'kernelConstraint'] as const;

/** What the options of a bank's weight stand for. */
export interface BankWeightOptions {
  kernelInitializer: Initializer;
  kernelRegularizer: Regularizer | null;
  kernelConstraint: Constraint | null;
}

export function checkBankWeight(who: string, args: BankWeightArgs, fallback: InitializerIdentifier): BankWeightOptions {
  return {
    kernelInitializer: initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? fallback),
    kernelRegularizer: regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer),
    kernelConstraint: constraintOf(who, 'kernelConstraint', args.kernelConstraint),
  };
}

/** For `getConfig`. */
export function bankWeightConfig({ kernelInitializer, kernelRegularizer, kernelConstraint }: BankWeightOptions): serialization.ConfigDict {
  return {
    kernelInitializer: serialized(kernelInitializer),
    kernelRegularizer: serialized(kernelRegularizer),
    kernelConstraint: serialized(kernelConstraint),
  };
}

/** `addWeight` is protected in the host's types. */
interface Adds {
  addWeight(
    name: string, shape: number[], dtype: 'float32', initializer: Initializer, regularizer?: Regularizer | null, trainable?: boolean, constraint?: Constraint | null,
  ): LayerVariable; // prettier-ignore
}

/** Adds a weight to `layer` for an object that the layer is made of. */
export const addWeightTo = (layer: Layer, ...args: Parameters<Adds['addWeight']>): LayerVariable => (layer as unknown as Adds).addWeight(...args);

export const addBankWeight = (bank: Layer & BankWeightOptions, shape: number[], initializer: Pick<Initializer, 'apply'> = bank.kernelInitializer): LayerVariable =>
  addWeightTo(bank, 'bank', shape, 'float32', initializer as Initializer, bank.kernelRegularizer, true, bank.kernelConstraint);

/** Tensor that a bank gave out → the stored numbers that it shows: some backends copy them, so that their identity is lost. */
const shownBy = new WeakMap<Tensor, DataId>();

/** A bank's stored numbers as a tensor of its own, which the host disposes of; differentiable. */
export function bankTensor(bank: LayerVariable): Tensor {
  const variable = variableOf(bank) as Tensor;
  const shown = tfc.reshape(variable, variable.shape);
  shownBy.set(shown, variable.dataId);
  return shown;
}

/** The identity of the numbers that a bank's tensor shows; they change it whenever they change. */
export const shownNumbers = (tensor: Tensor): DataId => shownBy.get(tensor) ?? tensor.dataId;
