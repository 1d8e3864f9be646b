/** What a layer that wraps other layers needs, which the host leaves to it: their weights, losses, trainability, configs. */
import type { Scalar, serialization, Tensor } from '@tensorflow/tfjs-core';
import { input, layers, LayersModel, type LayerVariable, type Shape, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, shownShape } from '../checks.js';
import { revivedLayer, serialized, variableOf, type Layer, type LayerArgs } from '../host.js';

/**
 * A layer with layers inside: what it does with them is its `call`. Their weights are its own for the host: trained, counted, saved and loaded
 * once, in the order of {@link innerLayers}, and their regularizers' losses are added once however often they are called.
 *
 * Freezing it freezes them, and thawing it thaws them; that it trains does not thaw what was frozen in one of them when it was made.
 */
export abstract class OuterLayer extends layers.Layer {
  /** Those inside, each once. A layer that makes them itself may do so when it is built. */
  innerLayers: readonly Layer[];

  /** @throws Error if `inner` holds something that is no layer, or two layers of one name. */
  constructor(who: string, args: LayerArgs, inner: readonly Layer[]) {
    super(args);
    this.innerLayers = [...new Set(inner)];
    checkInner(who, this.innerLayers);
    if (!(args.trainable ?? (inner.length === 0 || inner.some(({ trainable }) => trainable)))) this.trainable = false;
  }

  override get trainable(): boolean {
    return super.trainable;
  }

  override set trainable(trainable: boolean) {
    super.trainable = trainable;
    for (const layer of this.innerLayers) layer.trainable = trainable;
  }

  override get trainableWeights(): LayerVariable[] {
    return [...super.trainableWeights, ...this.innerLayers.flatMap((layer) => layer.trainableWeights)];
  }

  override get nonTrainableWeights(): LayerVariable[] {
    return [...super.nonTrainableWeights, ...this.innerLayers.flatMap((layer) => layer.nonTrainableWeights)];
  }

  override calculateLosses(): Scalar[] {
    return [...super.calculateLosses(), ...this.innerLayers.flatMap((layer) => layer.calculateLosses())];
  }

  override setFastWeightInitDuringBuild(value: boolean): void {
    super.setFastWeightInitDuringBuild(value);
    for (const layer of this.innerLayers) layer.setFastWeightInitDuringBuild(value);
  }
}

function checkInner(who: string, inner: readonly Layer[]): void {
  const names = new Set<string>();
  for (const layer of inner) {
    if (!(layer instanceof layers.Layer)) throw new Error(`${who}: expected layers or models, got ${describe(layer)}.`);
    if (names.has(layer.name)) throw new Error(`${who}: two of its layers are named '${layer.name}', so that their weights could not be told apart in a file. Give each its own name.`);
    names.add(layer.name);
  }
}

/**
 * Builds `layer` for inputs of these shapes, if it is not built.
 * @returns the shapes of its outputs.
 * @throws Error if it does not take them, naming `who`.
 */
export function builtFor(who: string, layer: Layer, shapes: readonly Shape[]): Shape[] {
  try {
    const given = shapes.length === 1 ? shapes[0] : [...shapes];
    if (layer.built) nameAsLoaded(layer, shapes);
    else build(layer, shapes);
    return shapeList(layer.computeOutputShape(given));
  } catch (error) {
    throw new Error(`${who}: the layer '${layer.name}' (${layer.getClassName()}) does not take inputs of shape ${shapes.map(shownShape).join(', ')}: ${(error as Error).message}`, { cause: error });
  }
}

function build(layer: Layer, shapes: readonly Shape[]): void {
  const inputs = shapes.map((shape) => input({ batchShape: shape }));
  layer.apply((shapes.length === 1 ? inputs[0] : inputs) as SymbolicTensor);
}

/**
 * Gives the weights of a layer that was built elsewhere the names that they have when it comes out of a file and is built here: the host puts the names of
 * the layers around before a weight's, and finds weights by these names. A model's weights are named when it is made, wherever that is.
 */
export function nameAsLoaded(layer: Layer, shapes: readonly Shape[]): void {
  if (layer instanceof LayersModel || layer.weights.length === 0) return;
  const twin = revivedTwin(layer);
  if (twin === null) return;
  build(twin, shapes);
  // Read-only in the types alone.
  layer.weights.forEach((weight, i) => ((weight as { originalName: string }).originalName = twin.weights[i].originalName));
  twin.dispose();
}

/** Null for a class that no file can name: then there are no names to be found again. */
function revivedTwin(layer: Layer): Layer | null {
  try {
    return revivedLayer(layer.name, withoutRegularizers(serialized(layer)));
  } catch {
    return null;
  }
}

/** Those of the layer must not be revived: some know of each other. */
function withoutRegularizers(saved: unknown): unknown {
  if (Array.isArray(saved)) return saved.map(withoutRegularizers);
  if (typeof saved !== 'object' || saved === null) return saved;
  return Object.fromEntries(Object.entries(saved).map(([key, value]) => [key, /regularizers?$/i.test(key) ? null : withoutRegularizers(value)]));
}

export const shapeList = (shapes: Shape | Shape[]): Shape[] => (Array.isArray(shapes[0]) ? (shapes as Shape[]) : [shapes as Shape]);

/** A layer's output as a list. */
export function applied(layer: Layer, inputs: readonly Tensor[], kwargs: Record<string, unknown>): Tensor[] {
  // The host writes into the arguments that it hands on.
  const outputs = layer.apply(inputs.length === 1 ? inputs[0] : [...inputs], { ...kwargs }) as Tensor | Tensor[];
  return Array.isArray(outputs) ? outputs : [outputs];
}

/** For `getConfig`: layers as `{className, config}`. */
export const savedLayers = (inner: readonly Layer[]): serialization.ConfigDict[] => inner.map((layer) => serialized(layer)!);

/** For `fromConfig`: what {@link savedLayers} wrote. */
export const revivedLayers = (who: string, saved: unknown, customObjects?: serialization.ConfigDict): Layer[] =>
  (saved as unknown[]).map((each) => revivedLayer(who, each, customObjects));

/**
 * Tells of a call that changed a weight that is not trained, as running statistics do.
 * @returns the function that compares, with the first such weight or null.
 */
export function watchStatistics(inner: readonly Layer[]): () => LayerVariable | null {
  const before = inner.flatMap((layer) => layer.nonTrainableWeights).map((weight) => [weight, variableOf(weight).dataId] as const);
  return () => before.find(([weight, dataId]) => variableOf(weight).dataId !== dataId)?.[0] ?? null;
}
