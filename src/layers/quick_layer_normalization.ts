/** Layer normalisation over the last axis. Ba, Kiros & Hinton, Layer Normalization, 2016 (arXiv 1607.06450). */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, POSITIVE } from '../checks.js';
import { initializerOf, LAYER_OPTIONS, variableOf, type LayerArgs } from '../host.js';

export interface QuickLayerNormalizationArgs extends LayerArgs {
  /** Added to the variance. Default 1e-3, as the host's. */
  epsilon?: number;
}

/** γ·(x − mean)/√(variance + ε) + β over the last axis. */
export function normalizedRows(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: number): Tensor {
  return tfc.tidy(() => {
    const centred = tfc.sub(x, tfc.mean(x, -1, true));
    const scale = tfc.rsqrt(tfc.add(tfc.mean(tfc.square(centred), -1, true), epsilon));
    return tfc.add(tfc.mul(tfc.mul(centred, scale), gamma), beta);
  });
}

/**
 * y = γ·(x − mean)/√(variance + ε) + β, with mean and variance over the last axis: what the host's `layerNormalization()` computes, whose gradient
 * is slow (it goes by that of a batch normalisation of every element). `[batch, …, width]` to the same shape; a mask passes.
 *
 * Parameters: `gamma` and `beta`, `[width]` each, under the names and in the order of the host's.
 *
 * ```js
 * const y = quickLayerNormalization().apply(x);
 * ```
 *
 * When not to use it: over other axes than the last.
 */
export class QuickLayerNormalization extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'QuickLayerNormalization';
  readonly epsilon: number;
  gamma: LayerVariable | null = null;
  beta: LayerVariable | null = null;

  constructor(args: QuickLayerNormalizationArgs = {}) {
    super(args);
    checkKeys('QuickLayerNormalization', args, ['epsilon', ...LAYER_OPTIONS]);
    this.epsilon = checkNumber('QuickLayerNormalization', 'epsilon', args.epsilon ?? 1e-3, POSITIVE);
    this.supportsMasking = true;
  }

  override build(inputShape: Shape | Shape[]): void {
    const width = (Array.isArray(inputShape[0]) ? inputShape[0] : (inputShape as Shape)).at(-1);
    if (width == null) throw new Error(`QuickLayerNormalization '${this.name}': expected an input with a known last length, got [${inputShape.join(', ')}].`);
    this.gamma = this.addWeight('gamma', [width], 'float32', initializerOf(this.name, 'gamma', 'ones'));
    this.beta = this.addWeight('beta', [width], 'float32', initializerOf(this.name, 'beta', 'zeros'));
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    this.invokeCallHook(inputs, kwargs);
    return normalizedRows(Array.isArray(inputs) ? inputs[0] : inputs, variableOf(this.gamma!), variableOf(this.beta!), this.epsilon);
  }

  override getConfig(): serialization.ConfigDict {
    return { ...super.getConfig(), epsilon: this.epsilon };
  }
}

/** Layer normalisation over the last axis. See {@link QuickLayerNormalization}. */
export const quickLayerNormalization = (args: QuickLayerNormalizationArgs = {}): QuickLayerNormalization => new QuickLayerNormalization(args);

tfc.serialization.registerClass(QuickLayerNormalization);
