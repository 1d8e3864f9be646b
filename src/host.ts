/**
 * The only room that touches what `@tensorflow/tfjs-layers` does not export: the base class of regularizers, what names of initializers
 * and the like stand for, which weight a regularizer slot of a layer governs, and the list of a layer's losses.
 */
import * as tfl from '@tensorflow/tfjs-layers';
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor, Variable } from '@tensorflow/tfjs-core';

/** The host's regularizer interface; `apply` maps a weight to a scalar energy that is added to the training loss. */
export type Regularizer = ReturnType<typeof tfl.regularizers.l2>;
export type Layer = tfl.layers.Layer;
export type LayerVariable = tfl.LayerVariable;

/** What every layer of the host takes. */
export type LayerArgs = NonNullable<ConstructorParameters<typeof tfl.layers.Layer>[0]>;

/** The options of {@link LayerArgs} that exist at run time, and what the host's loader adds to a config: not to be refused by a layer. */
export const LAYER_OPTIONS = ['name', 'trainable', 'inputShape', 'batchInputShape', 'batchSize', 'dtype', 'inputDType', 'weights', 'customObjects'] as const;

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

type DenseArgs = Parameters<typeof tfl.layers.dense>[0];

/** A name, a saved config or an object. */
export type InitializerIdentifier = NonNullable<DenseArgs['kernelInitializer']>;
export type RegularizerIdentifier = NonNullable<DenseArgs['kernelRegularizer']>;
export type ConstraintIdentifier = NonNullable<DenseArgs['kernelConstraint']>;
export type ActivationIdentifier = NonNullable<DenseArgs['activation']>;

export type Initializer = ReturnType<typeof tfl.initializers.zeros>;
export type Constraint = ReturnType<typeof tfl.constraints.nonNeg>;
export interface Activation {
  apply(x: Tensor): Tensor;
  getClassName(): string;
}

/** What an identifier in a layer's options stands for: an unbuilt layer of the host is asked, which allocates nothing. */
function resolved(who: string, option: string, slot: keyof DenseArgs, identifier: unknown): unknown {
  try {
    // A name, or the host would count this layer among those that it numbers.
    return (tfl.layers.dense({ units: 1, name: 'unused', [slot]: identifier ?? undefined }) as unknown as Open)[slot] ?? null;
  } catch (error) {
    throw new Error(`${who}: ${option}: ${(error as Error).message}`, { cause: error });
  }
}

export const initializerOf = (who: string, option: string, identifier: InitializerIdentifier): Initializer =>
  resolved(who, option, 'kernelInitializer', identifier) as Initializer;
export const regularizerOf = (who: string, option: string, identifier?: RegularizerIdentifier | null): Regularizer | null =>
  resolved(who, option, 'kernelRegularizer', identifier) as Regularizer | null;
export const constraintOf = (who: string, option: string, identifier?: ConstraintIdentifier | null): Constraint | null =>
  resolved(who, option, 'kernelConstraint', identifier) as Constraint | null;
/** Without an identifier, the identity. */
export const activationOf = (who: string, option: string, identifier?: ActivationIdentifier | null): Activation =>
  resolved(who, option, 'activation', identifier) as Activation;

/**
 * The initializer of the n-th of several weights, from 0: the host draws the same numbers for each shape from one that has a seed, so that weights alike
 * in shape would be alike in value. Without a seed, the initializer itself.
 */
export function initializerOfNth(initializer: Initializer, n: number): Initializer {
  const { seed, ...config } = initializer.getConfig();
  if (n === 0 || typeof seed !== 'number') return initializer;
  return initializerOf(initializer.getClassName(), 'seed', { className: initializer.getClassName(), config: { ...config, seed: seed + n } } as never);
}

/** An initializer, regularizer or constraint as a layer's config holds it. */
export const serialized = (object: serialization.Serializable | null): serialization.ConfigDict | null =>
  object === null ? null : { className: object.getClassName(), config: object.getConfig() };

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
  queryRegularizer: 'queryKernel',
  keyRegularizer: 'keyKernel',
  valueRegularizer: 'valueKernel',
  outputRegularizer: 'outputKernel',
  biasRegularizer: 'bias',
  gammaRegularizer: 'gamma',
  betaRegularizer: 'beta',
};
const BIAS_SLOTS = ['biasRegularizer', 'gammaRegularizer', 'betaRegularizer'];

export const isBiasSlot = (slot: string): boolean => BIAS_SLOTS.includes(slot) || slot.startsWith('biasRegularizer');

/** A weight of a layer of ours that has several kernels, once it is made, and its regularizer: in `layer.regularizedWeights`, by slot. */
export interface RegularizedWeight {
  weight: LayerVariable | null;
  regularizer: Regularizer | null;
}

const ownSlots = (layer: Layer): Record<string, RegularizedWeight> => (layer as unknown as { regularizedWeights?: Record<string, RegularizedWeight> }).regularizedWeights ?? {};

type Open = Record<string, unknown>;

/** Where a layer stands in a model. */
export interface PlacedLayer {
  layer: Layer;
  /** The layers around it, outermost first, and itself. */
  path: Layer[];
  /** The layer whose losses the host adds up for it: itself, or the outermost wrapper or recurrent layer that it is inside of. */
  carrier: Layer;
}

/** Inner layer → the one that a save writes in its stead: Bidirectional trains two clones of it and saves the original. */
const originals = new WeakMap<Layer, Layer>();

/** A layer of ours that hands the losses of the layers inside of it on to the host, as a model does. */
const handsOnLosses = (layer: Layer): boolean => isModel(layer) || Array.isArray((layer as unknown as Open)['innerLayers']);

/** Every layer of `model`, models nested in it and layers inside wrappers included, each once, in graph order. */
export function placedLayers(model: tfl.LayersModel): PlacedLayer[] {
  const found = new Map<Layer, PlacedLayer>();
  const visit = (layer: Layer, around: Layer[], outer: Layer | null) => {
    if (found.has(layer)) return;
    const placed = { layer, path: [...around, layer], carrier: outer ?? layer };
    found.set(layer, placed);
    const children = innerLayers(layer);
    // A model adds up its layers' losses itself, and we do; a wrapper or recurrent layer does not know of any inside.
    const carrier = outer === null && handsOnLosses(layer) ? null : placed.carrier;
    for (const child of children) visit(child, placed.path, carrier);
  };
  model.layers.forEach((layer) => visit(layer, [], null));
  return [...found.values()];
}

export const allLayers = (model: tfl.LayersModel): Layer[] => placedLayers(model).map(({ layer }) => layer);

/** Counts uses of a layer that the host does not see: it is disposed of when all its users are. */
export function countUses(layer: Layer, uses: number): void {
  const open = layer as unknown as { _refCount: number | null };
  if (uses !== 0) open._refCount = (open._refCount ?? 0) + uses;
}

/** Weights that train unless a layer around them is frozen, in the order in which the host lists those that train. */
export function declaredTrainable(layer: Layer): LayerVariable[] {
  const all = allLayers({ layers: [layer] } as unknown as tfl.LayersModel);
  return [...new Set(all.flatMap((each) => (each as unknown as { _trainableWeights: LayerVariable[] })._trainableWeights))];
}

/** The layers that `tensors` are computed from, nearest first. */
export function sourceLayers(tensors: readonly tfl.SymbolicTensor[]): Layer[] {
  const seen = new Set<tfl.SymbolicTensor>(tensors);
  // The set grows while it is walked.
  for (const { inputs } of seen) for (const input of inputs) seen.add(input);
  return [...new Set([...seen].map(({ sourceLayer }) => sourceLayer))];
}

/** The layers that `tensor` is computed from, those inside of models and wrappers included, nearest first. */
export const layersUpstream = (tensor: tfl.SymbolicTensor): Layer[] => allLayers({ layers: sourceLayers([tensor]) } as unknown as tfl.LayersModel);

export const isModel = (layer: Layer): boolean => Array.isArray((layer as unknown as Open).layers);

function innerLayers(layer: Layer): Layer[] {
  const inside = layer as unknown as Open;
  const lists = ['layers', 'cells', 'innerLayers'].flatMap((key) => (Array.isArray(inside[key]) ? (inside[key] as Layer[]) : []));
  const clones = ['forwardLayer', 'backwardLayer'].map((key) => inside[key]).filter(isLayer);
  const original = inside['layer'];
  if (clones.length > 0 && isLayer(original)) clones.forEach((clone) => rememberOriginal(clone, original));
  const single = [clones.length > 0 ? null : original, inside['cell'], inside['model']].filter(isLayer);
  return [...lists, ...clones, ...single];
}

function rememberOriginal(clone: Layer, original: Layer): void {
  originals.set(clone, original);
  const inner = innerLayers(original);
  innerLayers(clone).forEach((child, i) => rememberOriginal(child, inner[i]));
}

const isLayer = (value: unknown): value is Layer => value instanceof tfl.layers.Layer;

/** The regularizer slots of a built layer whose weight exists. */
export function regularizerSlots(layer: Layer): RegularizerSlot[] {
  const open = layer as unknown as Open;
  const own = Object.entries(ownSlots(layer)).flatMap(([slot, { weight, regularizer }]) => (weight === null ? [] : [{ layer, slot, weight, regularizer }]));
  const usual = Object.entries(SLOT_WEIGHTS)
    .filter(([slot, weight]) => (slot in open || !isBiasSlot(slot)) && isLayerVariable(open[weight]))
    .map(([slot, weight]) => ({
      layer,
      slot,
      weight: open[weight] as LayerVariable,
      regularizer: (open[slot] as Regularizer | null | undefined) ?? null,
    }));
  return [...usual, ...own];
}

/** What each regularizer slot of a layer names, built or not; of biases and normalisations those that the layer has. */
export function slotRegularizers(layer: Layer): Map<string, Regularizer | null> {
  const open = layer as unknown as Open;
  const slots = Object.keys(SLOT_WEIGHTS).filter((slot) => slot in open || (!isBiasSlot(slot) && SLOT_WEIGHTS[slot] in open));
  const own = Object.entries(ownSlots(layer)).map(([slot, { regularizer }]): [string, Regularizer | null] => [slot, regularizer]);
  return new Map([...slots.map((slot): [string, Regularizer | null] => [slot, (open[slot] as Regularizer | null | undefined) ?? null]), ...own]);
}

/** Sets what the layer's config will name in that slot. It does not add or remove a loss. */
export function setSlotRegularizer({ layer, slot }: Pick<RegularizerSlot, 'layer' | 'slot'>, regularizer: Regularizer | null): void {
  for (const holder of [layer, originals.get(layer)]) {
    if (holder === undefined) continue;
    const own = ownSlots(holder)[slot];
    if (own === undefined) (holder as unknown as Open)[slot] = regularizer;
    else own.regularizer = regularizer;
  }
}

/** Whether the host adds up what `layer` itself lists as losses; it forgets those of cells, and of models inside wrappers. */
export const hostAddsLosses = ({ layer, carrier }: Pick<PlacedLayer, 'layer' | 'carrier'>): boolean => layer.losses === carrier.losses;

/** Adds a loss that the layer contributes at every training step; returns the function that takes it off again. */
export function addLayerLoss(layer: Layer, loss: () => Scalar): () => void {
  layer.addLoss(loss as Parameters<Layer['addLoss']>[0]);
  return () => {
    const losses = layer.losses as unknown[];
    const index = losses.indexOf(loss);
    if (index >= 0) losses.splice(index, 1);
  };
}

/** What a compiled model computes and compares at one output. */
export interface CompiledOutput {
  index: number;
  name: string;
  shape: tfl.Shape;
  loss: unknown;
  /** As they were given: names or functions. */
  metrics: unknown[];
}

/** For Sequential, the model inside of it that is compiled and trained. */
const trainedModel = (model: tfl.LayersModel): Open => ((model as unknown as Open)['model'] ?? model) as Open;

/** The outputs of a compiled model, or null if it is not compiled. */
export function compiledOutputs(model: tfl.LayersModel): CompiledOutput[] | null {
  const inside = trainedModel(model);
  const losses = inside['lossFunctions'] as unknown[] | undefined;
  if (losses === undefined) return null;
  const metrics = (inside['metrics'] ?? []) as unknown;
  return model.outputNames.map((name, index) => {
    const own = Array.isArray(metrics) || typeof metrics !== 'object' ? metrics : (metrics as Open)[name];
    return { index, name, shape: model.outputs[index].shape, loss: losses[index], metrics: [own ?? []].flat() };
  });
}

/**
 * Tells whether the `fit` or `fitDataset` that is under way on this model goes on. The host ends its mark also where they fail, and makes a history for
 * each, so that a later one is not taken for it.
 */
export function presentFit(model: tfl.LayersModel): () => boolean {
  const inside = trainedModel(model);
  const { history } = inside;
  return () => inside['isTraining'] === true && inside['history'] === history;
}

/** The step size of the compiled optimizer as it stands now, or null where the model has none or keeps it elsewhere. */
export function learningRateOf(model: tfl.LayersModel): number | null {
  const rate = ((trainedModel(model)['optimizer'] ?? {}) as Open)['learningRate'];
  return typeof rate === 'number' ? rate : null;
}

/** Makes `fit`, `evaluate` and `trainOnBatch` expect targets of this shape at an output, until the model is compiled again. */
export function expectTargetShape(model: tfl.LayersModel, index: number, shape: tfl.Shape): void {
  const shapes = trainedModel(model)['feedOutputShapes'];
  if (!Array.isArray(shapes)) throw new Error('tfjs-weight-sharing: this version of @tensorflow/tfjs-layers checks targets elsewhere. Use @tensorflow/tfjs-layers ^4.22.0.');
  shapes[index] = shape;
}

function isLayerVariable(value: unknown): value is LayerVariable {
  return typeof value === 'object' && value !== null && typeof (value as LayerVariable).read === 'function' && 'val' in value;
}

/** The layer that a saved `{className, config}` stands for; `customObjects` as the host's loader hands them on. */
export function revivedLayer(who: string, saved: unknown, customObjects: serialization.ConfigDict = {}): Layer {
  const { className, config } = (saved ?? {}) as { className?: string; config?: serialization.ConfigDict };
  const custom = className === undefined ? undefined : (customObjects[className] as unknown as LayerClass | undefined);
  const entry = className === undefined ? undefined : (tfc.serialization.SerializationMap.getMap().classNameMap[className] as unknown as [LayerClass, LayerClass['fromConfig']] | undefined);
  const [cls, fromConfig] = custom === undefined ? (entry ?? []) : [custom, custom.fromConfig];
  if (cls === undefined || fromConfig === undefined) {
    throw new Error(`${who}: the saved model names the layer '${className ?? String(saved)}', which is not registered. Import the package that defines it before loading.`);
  }
  return fromConfig(cls, config ?? {}, customObjects);
}

interface LayerClass {
  new (args: never): Layer;
  fromConfig(cls: LayerClass, config: serialization.ConfigDict, customObjects: serialization.ConfigDict): Layer;
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
