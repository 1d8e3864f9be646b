/** What stands between the gradients of a training step and the optimizer of a compiled model. */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedTensorMap, Optimizer } from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';

/** Gradients by names of variables → those that the optimizer gets instead. Names that it leaves out stay as they are. */
export type GradientChange = (gradients: NamedTensorMap) => NamedTensorMap;

interface Change {
  change: GradientChange;
  lasts: () => boolean;
}

const changes = new WeakMap<Optimizer, Set<Change>>();

/**
 * Lets `change` have the gradients before the optimizer of `model` does, while `lasts()`; the function that is returned ends it at once. Several changes
 * follow one another. The optimizer is left as it was found when the last of them ends.
 */
export function changeGradients(model: tfl.LayersModel, change: GradientChange, lasts: () => boolean): () => void {
  const { optimizer } = model;
  const entry = { change, lasts };
  const all = changes.get(optimizer) ?? intercept(optimizer);
  all.add(entry);
  return () => all.delete(entry) && release(optimizer, all);
}

/** How an optimizer applied gradients before; null: as its class does. */
const before = new WeakMap<Optimizer, Optimizer['applyGradients'] | null>();

function intercept(optimizer: Optimizer): Set<Change> {
  const all = new Set<Change>();
  const apply = optimizer.applyGradients;
  before.set(optimizer, Object.hasOwn(optimizer, 'applyGradients') ? apply : null);
  changes.set(optimizer, all);
  optimizer.applyGradients = (gradients) => {
    for (const entry of all) if (!entry.lasts()) all.delete(entry);
    if (all.size === 0) {
      release(optimizer, all);
      return apply.call(optimizer, gradients);
    }
    tfc.tidy(() => {
      let named = Array.isArray(gradients) ? Object.fromEntries(gradients.map(({ name, tensor }) => [name, tensor])) : gradients;
      for (const { change } of all) named = { ...named, ...change(named) };
      // In the order they came in: optimizers number their own memory by it.
      apply.call(optimizer, Array.isArray(gradients) ? gradients.map(({ name }) => ({ name, tensor: named[name] })) : named);
    });
  };
  return all;
}

function release(optimizer: Optimizer, all: Set<Change>): void {
  if (all.size > 0) return;
  const own = before.get(optimizer);
  if (own) optimizer.applyGradients = own;
  else delete (optimizer as Partial<Optimizer>).applyGradients;
  changes.delete(optimizer);
}
