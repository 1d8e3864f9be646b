/** One step of a Universal Transformer: attention, attention to a memory, transition, each added and normalised. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { initializers, layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { shownShape } from '../../checks.js';
import { variableOf, type Layer, type Regularizer } from '../../host.js';
import { multiHeadAttention, type MultiHeadAttention } from '../multi_head_attention.js';
import { applied, builtFor } from '../outer_layer.js';
import { quickLayerNormalization } from '../quick_layer_normalization.js';
import type { UniversalSettings } from './universal_options.js';

/** Widths over time of the two separable convolutions, as the authors' code has them. */
const TAPS = [3, 5] as const;

/** What the steps of one call share. */
export interface StepContext {
  /** Mask of the positions, [batch, time]. */
  padding?: Tensor;
  memory?: Tensor;
  /** As {@link MultiHeadAttention.maps} takes it. */
  memoryMask?: Tensor;
}

export type AddKernel = (name: string, shape: number[]) => LayerVariable;

/** y_i = Σ_k kernel_k ⊙ x_{i+k−offset}: x [batch, time, width], kernel [taps, width]; causal, or with the middle tap at i. Zeros outside. */
export function depthwiseOverTime(x: Tensor, kernel: Tensor, causal: boolean): Tensor {
  const [batch, time, width] = x.shape as [number, number, number];
  const taps = kernel.shape[0];
  const before = causal ? taps - 1 : (taps - 1) / 2;
  const padded = tfc.pad(x, [[0, 0], [before, taps - 1 - before], [0, 0]]); // prettier-ignore
  const terms = Array.from({ length: taps }, (_, k) => tfc.mul(tfc.slice(padded, [0, k, 0], [batch, time, width]), tfc.reshape(tfc.slice(kernel, [k, 0], [1, width]), [width])));
  return terms.reduce((sum, term) => tfc.add(sum, term));
}

/** The layers of a step, which all steps share. */
export class TransformerStep {
  readonly attention: MultiHeadAttention;
  readonly memoryAttention: MultiHeadAttention | null;
  readonly #settings: UniversalSettings;
  readonly #norms: Layer[];
  readonly #dense: Layer[];
  #kernels: LayerVariable[] = [];

  constructor(settings: UniversalSettings) {
    const { units, numHeads, hiddenUnits, decoder, causal, transition, dropout } = settings;
    this.#settings = settings;
    const kernelRegularizer = settings.kernelRegularizer as never;
    this.attention = multiHeadAttention({ numHeads, dropout, causal, kernelRegularizer, name: 'attention' });
    this.memoryAttention = decoder ? multiHeadAttention({ numHeads, dropout, outputDim: units, kernelRegularizer, name: 'memory_attention' }) : null;
    const dense = (args: { units: number; activation?: 'relu'; name: string }) => layers.dense({ ...args, kernelInitializer: 'glorotUniform', kernelRegularizer });
    this.#norms = ['attention_norm', ...(decoder ? ['memory_norm'] : []), 'transition_norm'].map((name) => quickLayerNormalization({ name }));
    this.#dense =
      transition instanceof layers.Layer
        ? [transition]
        : [dense({ units: hiddenUnits, activation: 'relu', name: 'transition_in' }), dense({ units, name: 'transition_out' })];
  }

  get layers(): Layer[] {
    return [this.attention, ...(this.memoryAttention === null ? [] : [this.memoryAttention]), ...this.#dense, ...this.#norms];
  }

  build(who: string, state: Shape, memory: Shape | null, addKernel: AddKernel): void {
    const { transition, hiddenUnits, units } = this.#settings;
    builtFor(who, this.attention, [state]);
    if (this.memoryAttention !== null) builtFor(who, this.memoryAttention, [state, memory!]);
    let h = state;
    for (const layer of this.#dense) [h] = builtFor(who, layer, [h]);
    if (h.length !== 3 || h[2] !== units) throw new Error(`${who}: the transition makes ${shownShape(h)} of ${shownShape(state)}: it must keep the shape.`);
    for (const norm of this.#norms) builtFor(who, norm, [state]);
    if (transition === 'separableConvolution') this.#kernels = TAPS.map((taps, i) => addKernel(`transition_depthwise_${i}`, [taps, i === 0 ? units : hiddenUnits]));
  }

  /** H = LN(B + T(B)), B = LN(A + M(A, memory)) for a decoder, A = LN(h + S(h)). */
  apply(h: Tensor, { padding, memory, memoryMask }: StepContext, training: boolean): Tensor {
    const norms = [...this.#norms];
    const added = (to: Tensor, change: Tensor) => applied(norms.shift()!, [tfc.add(to, this.#dropped(change, training))], { training })[0];
    const a = added(h, this.attention.attended(h, h, h, { padding: padding ?? null }, training));
    const b = this.memoryAttention === null ? a : added(a, this.memoryAttention.attended(a, memory!, memory!, { mask: memoryMask ?? null }, training));
    return added(b, this.#transition(b, padding, training));
  }

  #transition(h: Tensor, padding: Tensor | undefined, training: boolean): Tensor {
    return this.#dense.reduce((y, layer, i) => {
      if (this.#kernels.length === 0) return applied(layer, [y], padding === undefined ? { training } : { training, mask: padding })[0];
      // What is behind a sequence's end must not come in.
      const seen = padding === undefined ? y : tfc.mul(y, tfc.expandDims(tfc.cast(padding, 'float32'), -1));
      return applied(layer, [depthwiseOverTime(seen, variableOf(this.#kernels[i]), this.#settings.causal)], { training })[0];
    }, h);
  }

  #dropped(x: Tensor, training: boolean): Tensor {
    return training && this.#settings.dropout > 0 ? tfc.dropout(x, this.#settings.dropout) : x;
  }
}

/** A gate for highway and skip recurrences: closed by its bias at first, so that depth begins as a small change. */
export const gateLayer = (units: number, kernelRegularizer: Regularizer | null): Layer =>
  layers.dense({ units, activation: 'sigmoid', biasInitializer: initializers.constant({ value: -1 }), kernelRegularizer: kernelRegularizer as never, name: 'gate' });

/** Its kernel begins at zero: then its bias alone says how deep all positions begin. */
export const haltingLayer = (bias: number): Layer => layers.dense({ units: 1, activation: 'sigmoid', kernelInitializer: 'zeros', biasInitializer: initializers.constant({ value: bias }), name: 'halting' });
