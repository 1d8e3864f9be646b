/** A model without the query and key projections that shared attention does not use. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { allLayers, checkSameHost } from '../host.js';
import { SharedAttention } from '../layers/shared_attention.js';
import { rebuild } from './rebuild.js';

export interface CompactModel {
  model: tfl.LayersModel;
  /** Parameters of `model` fewer than before. */
  removed: number;
}

const WHO = 'removeUnusedProjections';

/**
 * A new model with equal outputs in which each `sharedAttention` stack is compact: layers that use another's attention weights have no query and key projections,
 * those that use another's output over the memory no attention over it. Their policies cannot be changed any more. `model` stays as it is.
 *
 * ```js
 * const {model: small, removed} = await removeUnusedProjections(model);
 * await small.save('localstorage://decoder');
 * ```
 *
 * Regularizers and constraints are left behind, as in every export; the new model is not compiled.
 *
 * @throws Error if the model has no such stack, or has one inside of a model or wrapper within it: make that one compact, and put it in again.
 */
export async function removeUnusedProjections(model: tfl.LayersModel): Promise<CompactModel> {
  checkSameHost(WHO, model);
  const stacks = allLayers(model).filter((layer): layer is SharedAttention => layer instanceof SharedAttention);
  if (stacks.length === 0) throw new Error(`${WHO}: the model has no sharedAttention. Layers: ${allLayers(model).map(({ name }) => name).join(', ')}.`);
  const nested = stacks.find((stack) => !model.layers.includes(stack));
  if (nested !== undefined) throw new Error(`${WHO}: '${nested.name}' is inside of a model or wrapper within this one. Call it with that model.`);
  const named = new Map(stacks.map((stack) => [stack.name, stack]));
  const result = await rebuild(
    model,
    ({ layers }) => layers.filter(({ config }) => named.has(config['name'] as string)).forEach(({ config }) => (config['compact'] = true)),
    (name) => named.get(name)?.usedWeights.map((weight) => tfc.clone(weight.read())) ?? null,
  );
  return { model: result, removed: model.countParams() - result.countParams() };
}
