/** What a layer that wraps other layers needs, which the host leaves to it: their weights, losses, trainability, configs. */
import type { Scalar, serialization, Tensor } from '@tensorflow/tfjs-core';
import { input, layers, LayersModel, SymbolicTensor, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { describe, shownShape } from '../checks.js';
import { allLayers, countUses, isModel, placedLayers, revivedLayer, serialized, sourceLayers, variableOf, type Layer, type LayerArgs } from '../host.js';

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
    if (args.trainable === false) this.trainable = false;
  }

  /** @throws Error if what is inside has been used on the way to a symbolic input: its weights would be another layer's, too, updated and saved twice. */
  override apply(inputs: Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[], kwargs?: Record<string, unknown>): Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[] {
    const symbolic = [inputs].flat().filter((each) => each instanceof SymbolicTensor);
    if (symbolic.length > 0) checkOwner(this, symbolic);
    return super.apply(inputs, kwargs as never);
  }

  /** To be called when those inside are built: from now on they are used here, too. */
  override build(inputShape: Shape | Shape[]): void {
    for (const layer of this.innerLayers) {
      // A model counts itself when it is made, which stands for the first use.
      const stands = isModel(layer) && !usedModels.has(layer);
      if (stands) usedModels.add(layer);
      countUses(layer, (stands ? 0 : 1) - (builtInside.delete(layer) ? 1 : 0));
    }
    super.build(inputShape);
  }

  /** Own weights, and what those inside hold unless somebody else uses them. */
  protected override disposeWeights(): number {
    const own = [...super.trainableWeights, ...super.nonTrainableWeights];
    for (const weight of own) weight.dispose();
    return this.innerLayers.reduce((count, layer) => count + (layer.built ? layer.dispose().numDisposedVariables : 0), own.length);
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

function checkOwner(outer: OuterLayer, inputs: readonly SymbolicTensor[]): void {
  const own = new Set(allLayers({ layers: [...outer.innerLayers] } as unknown as LayersModel));
  for (const source of sourceLayers(inputs)) {
    if (source === outer) continue;
    const shared = allLayers({ layers: [source] } as unknown as LayersModel).find((layer) => own.has(layer));
    if (shared === undefined) continue;
    throw new Error(
      `${outer.getClassName()} '${outer.name}': the layer '${shared.name}' inside of it is used by ${source === shared ? 'the model itself' : `'${source.name}'`} on the way to its input. Two layers cannot own one weight: ` +
        'it would be updated twice and saved twice. Apply one outer layer at both places, or give each its own layers.',
    );
  }
}

/** Layers whose use by the outer one the host has counted, as they were built for it. */
const builtInside = new WeakSet<Layer>();
const usedModels = new WeakSet<Layer>();

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

export function build(layer: Layer, shapes: readonly Shape[]): void {
  builtInside.add(layer);
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
  const [ours, theirs] = [placedInside(layer), placedInside(twin)];
  ours.forEach(({ layer: own, path }, i) => {
    if (path.some(isModel)) return;
    const names = ownWeights(theirs[i].layer).map(({ originalName }) => originalName);
    // Read-only in the types alone.
    ownWeights(own).forEach((weight, k) => ((weight as { originalName: string }).originalName = names[k]));
  });
  twin.dispose();
}

const placedInside = (layer: Layer) => placedLayers({ layers: [layer] } as unknown as LayersModel);

/** Without those of layers inside. */
function ownWeights(layer: Layer): LayerVariable[] {
  const inner = new Set(placedInside(layer).slice(1).flatMap((placed) => placed.layer.weights));
  return layer.weights.filter((weight) => !inner.has(weight));
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
 * Checks that no layer inside adds to the loss when it is called: where a call is computed again, or iterated, what it adds is lost.
 * @throws Error naming the layer and the option that turns it off.
 */
export function checkCallLosses(who: string, why: string, inner: readonly Layer[]): void {
  for (const layer of allLayers({ layers: [...inner] } as unknown as LayersModel)) {
    const option = (layer as { lossOfCalls?: string | null }).lossOfCalls ?? null;
    if (option !== null) throw new Error(`${who}: ${why}, and what the layer '${layer.name}' (${layer.getClassName()}) adds to the loss would be lost. Give it ${option}, or do without that.`);
  }
}

/**
 * Tells of a call that changed a weight that is not trained, as running statistics do.
 * @returns the function that compares, with the first such weight or null.
 */
export function watchStatistics(inner: readonly Layer[]): () => LayerVariable | null {
  const before = inner.flatMap((layer) => layer.nonTrainableWeights).map((weight) => [weight, variableOf(weight).dataId] as const);
  return () => before.find(([weight, dataId]) => variableOf(weight).dataId !== dataId)?.[0] ?? null;
}
