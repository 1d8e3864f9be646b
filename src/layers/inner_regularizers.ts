/** Regularizers of layers that another layer makes for itself: the configs of those are in no file, so what was put onto them is told by the one around. */
import type { serialization } from '@tensorflow/tfjs-core';
import { checkKeys, describe } from '../checks.js';
import { regularizerOf, serialized, setSlotRegularizer, slotRegularizers, type Layer, type Regularizer, type RegularizerIdentifier } from '../host.js';

/** A regularizer and where it is, by layer and slot; null where one was taken off. */
export interface InnerRegularizer<R = RegularizerIdentifier> {
  regularizer: R | null;
  slots: { name: string; slot: string }[];
}

/**
 * What differs from how the layers were made. One instance stands once, however many slots have it, and comes back as one: a mixture over several layers
 * stays one.
 */
export class InnerRegularizers {
  readonly #who: string;
  readonly #given: InnerRegularizer<Regularizer>[];
  /** As the layers were made. */
  #made: ReadonlyMap<Layer, ReadonlyMap<string, Regularizer | null>> | null = null;

  /** @throws Error if `given`, the option `innerRegularizers`, is no list of {@link InnerRegularizer}. */
  constructor(who: string, given: unknown) {
    const option = 'innerRegularizers';
    const isList = (value: unknown) => Array.isArray(value) && value.every((each) => typeof each === 'object' && each !== null);
    if (!isList(given ?? [])) throw new Error(`${who}: ${option} must be a list of {regularizer, slots}, got ${describe(given)}.`);
    this.#who = who;
    this.#given = ((given ?? []) as InnerRegularizer[]).map((each) => {
      checkKeys(`${who}: ${option}`, each, ['regularizer', 'slots']);
      if (!isList(each.slots)) throw new Error(`${who}: ${option}: slots must be a list of {name, slot}, got ${describe(each.slots)}.`);
      return { regularizer: regularizerOf(who, option, each.regularizer), slots: each.slots };
    });
  }

  /** Gives them to the layers, before those are built. @throws Error if there is no such layer or slot. */
  give(layers: readonly Layer[]): void {
    this.#made = new Map(layers.map((layer) => [layer, slotRegularizers(layer)]));
    for (const { regularizer, slots } of this.#given) {
      for (const { name, slot } of slots) {
        const layer = layers.find((each) => each.name === name);
        if (layer === undefined || !slotRegularizers(layer).has(slot)) {
          throw new Error(`${this.#who}: innerRegularizers names the ${slot} of '${name}', which is not there. Layers: ${layers.map((each) => each.name).join(', ')}.`);
        }
        setSlotRegularizer({ layer, slot }, regularizer);
      }
    }
  }

  /** For `getConfig`, under `innerRegularizers`; null if there are none. */
  config(): serialization.ConfigDict[] | null {
    const all = this.#made === null ? this.#given : this.#changes(this.#made);
    return all.length === 0 ? null : all.map(({ regularizer, slots }) => ({ regularizer: serialized(regularizer), slots: slots.map((slot) => ({ ...slot })) }));
  }

  #changes(made: ReadonlyMap<Layer, ReadonlyMap<string, Regularizer | null>>): InnerRegularizer<Regularizer>[] {
    const found = new Map<Regularizer | null, InnerRegularizer<Regularizer>['slots']>();
    for (const [layer, before] of made) {
      for (const [slot, regularizer] of slotRegularizers(layer)) {
        if (regularizer !== (before.get(slot) ?? null)) found.set(regularizer, [...(found.get(regularizer) ?? []), { name: layer.name, slot }]);
      }
    }
    return [...found].map(([regularizer, slots]) => ({ regularizer, slots }));
  }
}
