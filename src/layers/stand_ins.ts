/** What layers use for a while in the place of their own weights, and how it is there again where something is computed once more. */
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LayerVariable } from '@tensorflow/tfjs-layers';
import { checkpointed, type ChainStep, type CheckpointedArgs } from '../autodiff/checkpoint.js';
import { variableOf, type Layer } from '../host.js';

/** Weights for a layer to use in the place of its own, by the property that holds them. */
export interface LayerWeights {
  layer: Layer;
  weights: Record<string, LayerVariable>;
}

interface StandIns {
  /** What gradients may be wanted for besides `tensors`. */
  variables: readonly Tensor[];
  /** What is read; others of the same values may be read instead. */
  tensors: readonly Tensor[];
  run<T>(tensors: readonly Tensor[], f: () => T): T;
}

/** Outermost first. */
let standing: readonly StandIns[] = [];

function among<T>(all: readonly StandIns[], f: () => T): T {
  const before = standing;
  standing = all;
  try {
    return f();
  } finally {
    standing = before;
  }
}

const withStandIns = <T>(one: StandIns, f: () => T): T => among([...standing, one], () => one.run(one.tensors, f));

/** Runs `f` while layers that read a weight of `values` get the tensor there instead. */
export function withReads<T>(values: ReadonlyMap<LayerVariable, Tensor>, f: () => T): T {
  const weights = [...values.keys()];
  return withStandIns({ variables: [], tensors: [...values.values()], run: (tensors, g) => withProperties(weights.map((weight, i) => [weight, { read: () => tensors[i] }]), g) }, f);
}

/** Runs `f` while the layers read and write these weights instead of their own. */
export function withWeights<T>(replacements: readonly LayerWeights[], f: () => T): T {
  const variables = replacements.flatMap(({ weights }) => Object.values(weights).map(variableOf));
  return withStandIns({ variables, tensors: [], run: (_, g) => withProperties(replacements.map(({ layer, weights }) => [layer, weights]), g) }, f);
}

/** Runs `f` while the objects have these properties of their own. */
function withProperties<T>(changes: readonly (readonly [object, Record<string, unknown>])[], f: () => T): T {
  const before = changes.map(([object, values]) => Object.keys(values).map((key) => [key, Object.getOwnPropertyDescriptor(object, key)] as const));
  const put = (object: object, key: string, value: unknown) => Object.defineProperty(object, key, { value, configurable: true, enumerable: true, writable: true });
  changes.forEach(([object, values]) => Object.entries(values).forEach(([key, value]) => put(object, key, value)));
  try {
    return f();
  } finally {
    // Backwards: an object may be named twice.
    changes.map(([object], i) => ({ object, kept: before[i] })).reverse().forEach(({ object, kept }) => {
      for (const [key, descriptor] of kept) {
        if (descriptor === undefined) Reflect.deleteProperty(object, key);
        else Object.defineProperty(object, key, descriptor);
      }
    }); // prettier-ignore
  }
}

export interface Surroundings {
  /** Stand-ins that gradients may be wanted for. */
  variables: readonly Tensor[];
  tensors: readonly Tensor[];
  /** Runs `f` among the same stand-ins, `tensors` or others of their values in their place, whatever stands in then. */
  within<T>(tensors: readonly Tensor[], f: () => T): T;
}

/** The stand-ins of this moment, for what is computed again later. */
export function surroundings(): Surroundings {
  const all = standing;
  return {
    variables: all.flatMap(({ variables }) => variables),
    tensors: all.flatMap(({ tensors }) => tensors),
    within(tensors, f) {
      let taken = 0;
      const own = all.map(({ variables, run, tensors: { length } }): StandIns => ({ variables, run, tensors: tensors.slice(taken, (taken += length)) }));
      return among(own, () => own.reduceRight<() => ReturnType<typeof f>>((inner, one) => () => one.run(one.tensors, inner), f)());
    },
  };
}

/** {@link checkpointed} with steps that call layers: what stands in for their weights now does so again in the gradient, and gets its own. */
export function checkpointedLayers(steps: readonly ChainStep[], state: readonly Tensor[], { inputs = [], variables = [], ...args }: CheckpointedArgs): Tensor[] {
  const here = surroundings();
  const chain = steps.map((step): ChainStep => (h, given) => here.within(given.slice(inputs.length), () => step(h, given.slice(0, inputs.length))));
  return checkpointed(chain, state, { ...args, inputs: [...inputs, ...here.tensors], variables: [...variables, ...here.variables] });
}
