/**
 * The only room that touches what `@tensorflow/tfjs-layers` does not export: the base class of regularizers, which weight a
 * regularizer slot of a layer governs, and the list of a layer's losses.
 */
import * as tfl from '@tensorflow/tfjs-layers';
import type { Scalar, Variable } from '@tensorflow/tfjs-core';

/** The host's regularizer interface; `apply` maps a weight to a scalar energy that is added to the training loss. */
export type Regularizer = ReturnType<typeof tfl.regularizers.l2>;
export type Layer = tfl.layers.Layer;
export type LayerVariable = tfl.LayerVariable;

const HostRegularizer = Object.getPrototypeOf(tfl.regularizers.l2().constructor) as abstract new () => Regularizer;

/** Base class that the host's layers accept as a regularizer (they test `instanceof`). */
export abstract class RegularizerBase extends HostRegularizer {
  /**
   * Only a copy of tfjs-layers that does not know this class asks an instance for it, on its way to "Improper config format".
   */
  get className(): never {
    throw new Error(TWO_COPIES);
  }
}

const TWO_COPIES =
  'tfjs-weight-sharing: two copies of @tensorflow/tfjs-layers are loaded, and a layer of one was given a regularizer of the other. ' +
  'Run `npm ls @tensorflow/tfjs-layers` and bring the versions together (`npm dedupe`), so that one copy remains.';

/** A weight of a layer and the regularizer slot that governs it. */
export interface RegularizerSlot {
  layer: Layer;
  /** e.g. `kernelRegularizer` */
  slot: string;
  weight: LayerVariable;
  regularizer: Regularizer | null;
}

/** Regularizer slot → property that holds the weight, for the host's own layers and all that follow their naming. */
const SLOT_WEIGHTS: Record<string, string> = {
  kernelRegularizer: 'kernel',
  recurrentRegularizer: 'recurrentKernel',
  depthwiseRegularizer: 'depthwiseKernel',
  pointwiseRegularizer: 'pointwiseKernel',
  embeddingsRegularizer: 'embeddings',
  biasRegularizer: 'bias',
  gammaRegularizer: 'gamma',
  betaRegularizer: 'beta',
};
const BIAS_SLOTS = ['biasRegularizer', 'gammaRegularizer', 'betaRegularizer'];

export const isBiasSlot = (slot: string): boolean => BIAS_SLOTS.includes(slot);

type Open = Record<string, unknown>;

/** Every layer of `model`, models nested in it and layers inside wrappers included, each once, in graph order. */
export function allLayers(model: tfl.LayersModel): Layer[] {
  const found = new Set<Layer>();
  const visit = (layer: Layer) => {
    if (found.has(layer)) return;
    found.add(layer);
    const inside = layer as unknown as Open;
    for (const key of ['layers', 'cells']) {
      if (Array.isArray(inside[key])) (inside[key] as Layer[]).forEach(visit);
    }
    for (const key of ['layer', 'forwardLayer', 'backwardLayer', 'cell', 'model']) {
      const child = inside[key];
      if (child instanceof tfl.layers.Layer) visit(child);
    }
  };
  model.layers.forEach(visit);
  return [...found];
}

/** The regularizer slots of a built layer whose weight exists. */
export function regularizerSlots(layer: Layer): RegularizerSlot[] {
  const open = layer as unknown as Open;
  return Object.entries(SLOT_WEIGHTS)
    .filter(([slot, weight]) => (slot in open || !isBiasSlot(slot)) && isLayerVariable(open[weight]))
    .map(([slot, weight]) => ({
      layer,
      slot,
      weight: open[weight] as LayerVariable,
      regularizer: (open[slot] as Regularizer | null | undefined) ?? null,
    }));
}

/** Sets what the layer's config will name in that slot. It does not add or remove a loss. */
export function setSlotRegularizer({ layer, slot }: RegularizerSlot, regularizer: Regularizer | null): void {
  (layer as unknown as Open)[slot] = regularizer;
}

/** Adds a loss that the layer contributes at every training step; returns the function that takes it off again. */
export function addLayerLoss(layer: Layer, loss: () => Scalar): () => void {
  layer.addLoss(loss as Parameters<Layer['addLoss']>[0]);
  return () => {
    const losses = (layer as unknown as { _losses: unknown[] })._losses;
    const index = losses.indexOf(loss);
    if (index >= 0) losses.splice(index, 1);
  };
}

function isLayerVariable(value: unknown): value is LayerVariable {
  return typeof value === 'object' && value !== null && typeof (value as LayerVariable).read === 'function' && 'val' in value;
}

/** The tf.Variable behind a layer's weight (`read()` returns that same object at every call). */
export const variableOf = (weight: LayerVariable): Variable => weight.read() as Variable;

/**
 * @throws Error if `model` was made by another copy of tfjs-layers than the one this package uses: its layers would answer
 * "Improper config format" or silently ignore callbacks.
 */
export function checkSameHost(who: string, model: unknown): asserts model is tfl.LayersModel {
  if (model instanceof tfl.LayersModel) return;
  const looksLikeAModel = typeof model === 'object' && model !== null && Array.isArray((model as Open).layers);
  throw new Error(
    looksLikeAModel
      ? `${who}: two copies of @tensorflow/tfjs-layers are loaded, and this model was made by the other one. ` +
          'Run `npm ls @tensorflow/tfjs-layers` and bring the versions together (`npm dedupe`), so that one copy remains.'
      : `${who}: expected a tf.LayersModel, got ${model === null ? 'null' : typeof model}.`,
  );
}
