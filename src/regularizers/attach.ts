/** Puts a prior on a model that exists already, takes it off, and finds the priors of a model. */
import * as tfc from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { serialization, Scalar, Tensor } from '@tensorflow/tfjs-core';
import { checkBoolean, checkKeys, checkNames, describe } from '../checks.js';
import { addLayerLoss, checkSameHost, hostAddsLosses, isBiasSlot, isModel, placedLayers, RegularizerBase, regularizerSlots, setSlotRegularizer, variableOf, type PlacedLayer, type Regularizer, type RegularizerSlot } from '../host.js'; // prettier-ignore
import { GmmPrior } from './gmm_prior.js';
import { GrOWL } from './growl.js';

export type PlacedSlot = RegularizerSlot & PlacedLayer;

/** What can be put onto a model that exists. */
export type Attachable = GmmPrior | GrOWL;

/** What a prior governs in a model. */
export interface GovernedWeight<P extends Attachable = GmmPrior> extends PlacedSlot {
  prior: P;
}

const isAttachable = (term: unknown): term is Attachable => term instanceof GmmPrior || term instanceof GrOWL;

const called = (prior: Attachable): string => (prior instanceof GmmPrior ? `gmmPrior '${prior.name}'` : 'this growl');

export interface AttachRegularizerArgs {
  /** Names of the layers, each with all that is inside it (a wrapper, a nested model); default: every layer with a kernel. */
  layers?: string[];
  /** Also put it on biases (and scales and shifts of normalisations). Default false. */
  biases?: boolean;
}

/**
 * The regularizer of a layer that had one and was given a second: the sum of both, so that a resumable save carries both.
 * Users meet it only in saved configs.
 */
export class RegularizerSum extends RegularizerBase {
  /** @nocollapse */
  static readonly className = 'RegularizerSum';
  readonly terms: Regularizer[];

  constructor({ terms }: { terms: Regularizer[] }) {
    super();
    this.terms = terms;
  }

  override apply(weight: Tensor): Scalar {
    // No tidy of its own: terms tell evaluations apart by the one they are called in.
    return this.terms.map((term) => term.apply(weight)).reduce((sum, energy) => tfc.add(sum, energy));
  }

  override getConfig(): serialization.ConfigDict {
    return {
      terms: this.terms.map((term) => ({ className: term.getClassName(), config: term.getConfig() })),
    } as unknown as serialization.ConfigDict;
  }

  static fromConfig<T extends serialization.Serializable>(_cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict): T {
    const saved = config['terms'] as unknown as { className: string; config: serialization.ConfigDict }[];
    const classes = tfc.serialization.SerializationMap.getMap().classNameMap;
    const terms = saved.map(({ className, config: termConfig }) => {
      const entry = classes[className];
      if (entry === undefined) throw new Error(`RegularizerSum: the saved model names the regularizer '${className}', which is not registered. Import the package that defines it.`);
      const [cls, fromConfig] = entry;
      return fromConfig(cls, termConfig) as unknown as Regularizer;
    });
    return new RegularizerSum({ terms }) as unknown as T;
  }
}

/** Undoes {@link addLayerLoss} for what was attached here. */
const losses = new WeakMap<Tensor, Map<Regularizer, () => void>>();

/**
 * Adds `prior`, a `gmmPrior` or a `growl`, to weights of a built model (trained or loaded), compiled or not. A regularizer that the layer has already
 * stays; both energies count, and a resumable save carries both.
 * @returns the model.
 * @throws Error if a named layer is unknown, has no such weight, or carries the prior already.
 */
export function attachRegularizer(model: LayersModel, prior: Attachable, args: AttachRegularizerArgs = {}): LayersModel {
  const who = 'attachRegularizer';
  checkSameHost(who, model);
  if (!isAttachable(prior)) throw new Error(`${who}: expected a prior made by gmmPrior(…) or growl(…), got ${describe(prior)}.`);
  checkKeys(who, args, ['layers', 'biases']);
  if (args.layers !== undefined) checkNames(who, 'layers', args.layers);
  checkBoolean(who, 'biases', args.biases ?? false);
  attachTo(chooseSlots(who, model, args), prior);
  return model;
}

/** Adds `prior` to these weights. */
export function attachTo(chosen: readonly PlacedSlot[], prior: Attachable): void {
  const who = 'attachRegularizer';
  const already = chosen.find(({ regularizer }) => termsOf(regularizer).includes(prior));
  if (already && !prior.isDetached(variableOf(already.weight))) {
    throw new Error(`${who}: layer '${already.layer.name}' carries ${called(prior)} already. Leave it out of \`layers\`, or call detachRegularizer(model, prior) first.`);
  }
  // A list of λ may be too long for a kernel, a bias has no rows.
  if (prior instanceof GrOWL) for (const { layer, weight } of chosen) prior.lambdas(prior.layoutOf(weight.shape as number[]).rows, `layer '${layer.name}'`);
  for (const slot of chosen) {
    const weight = variableOf(slot.weight);
    const remaining = termsOf(slot.regularizer).filter((term) => term !== prior);
    setSlotRegularizer(slot, sumOf([...remaining, prior]));
    prior.attach(weight);
    if (boundByHost.get(weight)?.has(prior) && hostAddsLosses(slot)) continue;
    addLoss(slot, prior);
  }
}

function addLoss(slot: PlacedSlot, prior: Attachable): void {
  const weight = variableOf(slot.weight);
  const removers = losses.get(weight) ?? new Map<Regularizer, () => void>();
  if (removers.has(prior)) return;
  // A frozen recurrent layer leaves its cell's variables marked as trainable.
  removers.set(prior, addLayerLoss(slot.carrier, () => (takesPart({ ...slot, prior }) ? prior.apply(variableOf(slot.weight)) : tfc.scalar(0))));
  losses.set(weight, removers);
}

/**
 * Adds the losses that the host forgets: of priors given to cells of recurrent layers, or to models inside wrappers. Needed
 * where the model was built or loaded with them; {@link attachRegularizer} does it itself.
 */
export function addForgottenLosses(model: LayersModel): void {
  for (const entry of attachedWeights(model, isAttachable)) if (!hostAddsLosses(entry)) addLoss(entry, entry.prior);
}

/** Whether the weight feeds its prior's mixture: not detached, and trainable unless frozen ones are asked for. */
export function takesPart({ prior, weight, carrier }: GovernedWeight<Attachable>): boolean {
  return prior.governs(variableOf(weight)) && (prior.includeFrozen || carrier.trainableWeights.includes(weight));
}

/** Weights whose layer was built with a prior: the host keeps calling it, so detaching tells the prior to answer 0. */
const boundByHost = new WeakMap<Tensor, Set<Regularizer>>();

/**
 * Takes `prior` (default: every prior) off the model's weights; other regularizers stay.
 * @throws Error if there is nothing to take off.
 */
export function detachRegularizer(model: LayersModel, prior?: Attachable): LayersModel {
  const governed = attachedWeights(model, isAttachable).filter((entry) => prior === undefined || entry.prior === prior);
  if (governed.length === 0) {
    throw new Error(`detachRegularizer: no weight of model '${model.name}' carries ${prior ? called(prior) : 'a prior'}. priorsOf(model) lists what it has.`);
  }
  for (const entry of governed) {
    const weight = variableOf(entry.weight);
    const remove = losses.get(weight)?.get(entry.prior);
    if (remove) {
      remove();
      losses.get(weight)?.delete(entry.prior);
    } else {
      entry.prior.detach(weight);
      boundByHost.set(weight, (boundByHost.get(weight) ?? new Set()).add(entry.prior));
    }
    const [slot] = regularizerSlots(entry.layer).filter((candidate) => candidate.slot === entry.slot);
    setSlotRegularizer(slot, sumOf(termsOf(slot.regularizer).filter((term) => term !== entry.prior)));
  }
  return model;
}

/** The priors of a model, nested models and wrapped layers included, each once, in the order of its layers. */
export function priorsOf(model: LayersModel): GmmPrior[] {
  return [...new Set(governedWeights(model).map(({ prior }) => prior))];
}

/** Every weight of the model that carries a prior, frozen ones included; each (weight, prior) once. */
export function governedWeights(model: LayersModel): GovernedWeight[] {
  checkSameHost('priorsOf', model);
  return attachedWeights(model, (term) => term instanceof GmmPrior);
}

/** Every weight of the model that carries a growl penalty, frozen ones included. */
export const growlWeights = (model: LayersModel): GovernedWeight<GrOWL>[] => attachedWeights(model, (term) => term instanceof GrOWL);

function attachedWeights<P extends Attachable>(model: LayersModel, chosen: (term: unknown) => term is P): GovernedWeight<P>[] {
  return placedLayers(model).flatMap((placed) =>
    regularizerSlots(placed.layer).flatMap((slot) =>
      termsOf(slot.regularizer)
        .filter(chosen)
        .map((prior) => ({ ...placed, ...slot, prior })),
    ),
  );
}

function termsOf(regularizer: Regularizer | null): Regularizer[] {
  if (regularizer === null) return [];
  return regularizer instanceof RegularizerSum ? regularizer.terms : [regularizer];
}

function sumOf(terms: Regularizer[]): Regularizer | null {
  return terms.length > 1 ? new RegularizerSum({ terms }) : (terms[0] ?? null);
}

function chooseSlots(who: string, model: LayersModel, { layers, biases = false }: AttachRegularizerArgs): PlacedSlot[] {
  const all = placedLayers(model);
  // The host does not mark every layer inside a wrapper as built, nor a model at the head of a Sequential.
  const unbuilt = all.find(({ carrier }) => !carrier.built && !isModel(carrier))?.carrier;
  if (unbuilt) throw new Error(`${who}: layer '${unbuilt.name}' is not built yet. Give the first layer an inputShape, or call model.build(shape) first.`);
  const unknown = layers?.find((name) => !all.some(({ layer }) => layer.name === name));
  if (unknown !== undefined) throw new Error(`${who}: model '${model.name}' has no layer '${unknown}'. Layers: ${all.map(({ layer }) => layer.name).join(', ')}.`);
  const isNamed = ({ path }: PlacedLayer) => layers === undefined || path.some(({ name }) => layers.includes(name));
  const slots = all
    .filter(isNamed)
    .flatMap((placed) => regularizerSlots(placed.layer).map((slot) => ({ ...placed, ...slot })))
    .filter(({ slot }) => biases || !isBiasSlot(slot));
  const bare = layers?.find((name) => !slots.some(({ path }) => path.some((layer) => layer.name === name)));
  if (bare !== undefined) throw new Error(`${who}: layer '${bare}' has no kernel to regularize.`);
  if (slots.length === 0) throw new Error(`${who}: model '${model.name}' has no layer with a kernel; the prior would be attached to no weight.`);
  return slots;
}

tfc.serialization.registerClass(RegularizerSum);
