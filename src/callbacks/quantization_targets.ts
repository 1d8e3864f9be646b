/** Which weights of a model a quantisation is about, and by which mixture. */
import type { layers, LayersModel, LayerVariable } from '@tensorflow/tfjs-layers';
import { allLayers, checkSameHost, isBiasSlot, regularizerSlots } from '../host.js';
import { governedWeights, priorsOf, takesPart, type GovernedWeight } from '../regularizers/attach.js';
import type { GmmPrior } from '../regularizers/gmm_prior.js';

export interface QuantizationSelection {
  /** Default: all that the model carries. */
  prior?: GmmPrior | GmmPrior[];
  /** Names of layers whose weights stay as they are, each with all that is inside it. */
  skip?: string[];
  /** Biases that carry a prior (default), all of the layers with a prior (`true`), or none (`false`). */
  biases?: boolean;
}

/** What is quantised with one mixture. */
export interface QuantizationTargets {
  prior: GmmPrior;
  targets: { layer: layers.Layer; weight: LayerVariable }[];
}

/**
 * The weights governed by `prior`, or by any prior of the model, that take part in its mixture.
 * @throws Error if the model carries none of them, two of one name, or only on frozen layers.
 */
export function governedBy(who: string, model: LayersModel, prior: GmmPrior | GmmPrior[] | undefined): GovernedWeight[] {
  checkSameHost(who, model);
  const asked = prior === undefined ? null : [prior].flat();
  const carried = priorsOf(model);
  const missing = asked?.find((prior) => !carried.includes(prior));
  if (missing) {
    throw new Error(
      `${who}: gmmPrior '${missing.name}' is attached to no weight of this model` +
        `${carried.length > 0 ? ` (it carries ${carried.map(({ name }) => `'${name}'`).join(', ')})` : ''}. ` +
        'Give it as kernelRegularizer of a layer, or call attachRegularizer(model, prior). A loaded model has priors of its own: priorsOf(model).',
    );
  }
  if (carried.length === 0) {
    throw new Error(`${who}: the model carries no prior. Give gmmPrior({trainingExamples}) as kernelRegularizer of its layers, or call attachRegularizer(model, prior).`);
  }
  const namesake = carried.find(({ name }, i) => carried.findIndex((other) => other.name === name) < i);
  if (namesake) {
    throw new Error(`${who}: two priors of this model are named '${namesake.name}', and a save could not tell them apart. Give each gmmPrior a name of its own, or one instance to all their layers.`);
  }
  const governed = governedWeights(model).filter((entry) => (asked === null || asked.includes(entry.prior)) && takesPart(entry));
  if (governed.length === 0) {
    throw new Error(`${who}: every weight with a prior is frozen. Unfreeze a layer, or make the prior with includeFrozen: true.`);
  }
  return governed;
}

/**
 * What is quantised, by prior: governed weights without skipped layers, biases as asked.
 * @throws Error if a skipped layer does not exist, nothing is left, or two priors govern one weight.
 */
export function quantizationTargets(who: string, model: LayersModel, { prior: asked, skip = [], biases }: QuantizationSelection): QuantizationTargets[] {
  const names = allLayers(model).map(({ name }) => name);
  const unknown = skip.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`${who}: skip names layer '${unknown}', which the model does not have. Layers: ${names.join(', ')}.`);
  const governed = governedBy(who, model, asked).filter(({ path, slot }) => !path.some(({ name }) => skip.includes(name)) && !(biases === false && isBiasSlot(slot)));
  if (governed.length === 0) throw new Error(`${who}: skip leaves nothing to quantise: it names every layer with a prior.`);
  const taken = new Set(governed.map(({ weight }) => weight));
  const twice = governed.find(({ weight }, i) => governed.findIndex((other) => other.weight === weight) < i);
  if (twice) throw new Error(`${who}: two priors govern the kernel of layer '${twice.layer.name}'. Say by which to quantise (prior: …), or take one off with detachRegularizer(model, prior).`);
  return [...new Set(governed.map(({ prior }) => prior))].map((prior) => {
    const mine = governed.filter((entry) => entry.prior === prior);
    const joining = biases !== true ? [] : mine.flatMap(({ layer }) =>
      regularizerSlots(layer).filter(({ slot, weight }) => isBiasSlot(slot) && !taken.has(weight) && taken.add(weight))); // prettier-ignore
    return { prior, targets: [...mine, ...joining] };
  });
}
