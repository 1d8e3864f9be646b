/** What every layer of this package keeps, on every backend. Call `layerContract` inside a `describe`. */

import * as tf from '@tensorflow/tfjs-core';
import { input, model as functionalModel, models, type LayersModel, type SymbolicTensor, type layers } from '@tensorflow/tfjs-layers';
import { expect } from 'vitest';
import { alive, contractTests, expectNear, saveAndLoad, seeded, seededIntegers, type Checks } from './fixtures.js';

type Layer = layers.Layer;

/** How a layer treats a mask: refuses it, hands it on, ends it, or makes one from its input. */
export type Masking = 'refuses' | 'passes' | 'ends' | ((x: tf.Tensor) => tf.Tensor);

export interface LayerContractArgs<Args extends object> {
  /** Makes the layer; called with `args`. */
  create: (args: Args) => Layer;
  /** Every option of the layer's own, with values that are not the defaults. */
  args: Args;
  /** Shape of the input, or of each of several inputs, without the batch. */
  inputShape: number[] | number[][];
  /** What stands between the model's inputs and the layer, for one that needs something upstream. Default: nothing. */
  before?: (inputs: SymbolicTensor[]) => SymbolicTensor[];
  /** Inputs are integers in [0, integers) instead of numbers in [-1, 1). */
  integers?: number;
  /** Parameters that the built layer must have. */
  parameters: number;
  masking: Masking;
  /** Learning rate of the plain SGD step that must lower the loss. Default 0.05; 0 leaves that check out (a layer without weights). */
  learningRate?: number;
  /** Whether the step starts at matrices from a fixed seed, for layers which at a few draws no step of fixed length takes downhill. Default false. */
  seededMatrices?: boolean;
  /** Options that are errors: a misspelt one must throw, naming it. Default true; the host's own layers ignore them. */
  rejectsUnknownOptions?: boolean;
}

const BATCH = 4;

function serialised(value: unknown): unknown {
  const object = value as { getClassName?: () => string; getConfig?: () => unknown } | null;
  return typeof object?.getClassName === 'function' ? { className: object.getClassName(), config: object.getConfig?.() } : value;
}

const withoutNulls = (config: object) => JSON.parse(JSON.stringify(config), (_, value: unknown) => value ?? undefined) as object;

export function layerChecks<Args extends object>(spec: LayerContractArgs<Args>): Checks {
  const { create, args, integers, learningRate = 0.05 } = spec;
  const shapes = (Array.isArray(spec.inputShape[0]) ? spec.inputShape : [spec.inputShape]) as number[][];
  const data = (batch: number) =>
    shapes.map((shape, i) => (integers === undefined ? seeded([batch, ...shape], i + 1) : seededIntegers([batch, ...shape], i + 1, integers)));
  const one = <T>(values: T[]): T | T[] => (values.length === 1 ? values[0] : values);

  function build(): { model: LayersModel; layer: Layer; given: SymbolicTensor[] } {
    const layer = create(args);
    const inputs = shapes.map((shape) => input({ shape }));
    const given = spec.before?.(inputs) ?? inputs;
    return { layer, given, model: functionalModel({ inputs, outputs: layer.apply(one(given)) as SymbolicTensor }) };
  }
  const outputs = (model: LayersModel, x: tf.Tensor[]) => [model.predict(one(x))].flat();

  function training() {
    const { model, layer } = build();
    model.compile({ optimizer: tf.train.sgd(learningRate), loss: model.outputs.map(() => 'meanSquaredError') });
    const x = data(BATCH);
    const y = model.outputs.map(({ shape }, i) => seeded([BATCH, ...(shape.slice(1) as number[])], 101 + i));
    return { model, layer, x: one(x), y: one(y) };
  }

  const seededWeights = (model: LayersModel) => model.getWeights().map((weight, i) => (weight.rank === 2 ? seeded(weight.shape, 201 + i) : weight));

  const checks: Checks = {
    'holds every given argument in its config, under the same name': () => {
      const config = create(args).getConfig();
      for (const [key, given] of Object.entries(args)) {
        if (key === 'inputShape') {
          expect(config.batchInputShape, 'config.batchInputShape').toEqual([null, ...(given as number[])]);
          continue;
        }
        expect(config, `config lacks '${key}'`).toHaveProperty(key);
        const kept = config[key] as { className?: string } | null;
        // A name of an initializer, regularizer or constraint is kept as the object it stands for.
        if (typeof given === 'string' && typeof kept?.className === 'string') continue;
        expect(kept, `config.${key}`).toEqual(serialised(given));
      }
    },

    'comes back from JSON with the same config': async () => {
      const { model, layer } = build();
      const text = JSON.stringify(model.toJSON(null, false));
      const back = (await models.modelFromJSON(JSON.parse(text) as Parameters<typeof models.modelFromJSON>[0])).getLayer(layer.name);
      expect(back.getClassName()).toBe(layer.getClassName());
      // The loader adds keys of its own to a first layer (dtype), and JSON knows no `undefined`.
      expect(withoutNulls(back.getConfig())).toMatchObject(withoutNulls(layer.getConfig()));
    },

    'gives the same outputs after save and load': async () => {
      const { model } = build();
      const loaded = await saveAndLoad(model);
      const x = data(BATCH);
      const [before, after] = [outputs(model, x), outputs(loaded, x)];
      for (const [i, output] of before.entries()) expectNear(`output ${i} after loading`, await after[i].data(), await output.data(), 1e-6);
    },

    'has the same shape symbolically and eagerly': () => {
      const { model, layer, given } = build();
      const symbolic = model.outputs.map(({ shape }) => shape);
      const computed = layer.computeOutputShape(one(given.map(({ shape }) => shape)));
      expect(Array.isArray(computed[0]) ? computed : [computed], 'computeOutputShape').toEqual(symbolic);
      for (const batch of [1, 3]) {
        const eager = outputs(model, data(batch)).map(({ shape }) => shape);
        expect(eager, 'shapes of the outputs').toEqual(symbolic.map((shape) => shape.map((length) => length ?? batch)));
      }
    },

    'has the expected number of parameters': () => {
      expect(build().layer.countParams()).toBe(spec.parameters);
    },

    'leaves no tensor behind over 20 steps': async () => {
      const { model, x, y } = training();
      const step = async () => {
        if (learningRate > 0) await model.trainOnBatch(x, y);
        tf.dispose(model.predict(x));
      };
      for (let i = 0; i < 2; i++) await step();
      const before = alive();
      for (let i = 0; i < 20; i++) await step();
      expect(alive(), 'tensors and buffers after 20 more steps').toEqual(before);
    },

    [`${typeof spec.masking === 'string' ? spec.masking : 'makes'} a mask as stated`]: async () => {
      const { layer } = build();
      const x = data(BATCH);
      const mask = tf.cast(tf.greater(seeded([BATCH, shapes[0][0]], 51), 0), 'bool');
      const given = () => layer.computeMask(one(x), one(x.map(() => mask))) as tf.Tensor | null;
      if (spec.masking === 'refuses') return void expect(given, 'computeMask').toThrow(/mask/i);
      if (spec.masking === 'ends') return void expect([given() ?? null].flat().filter((each) => each !== null), 'the mask after the layer').toEqual([]);
      const expected = spec.masking === 'passes' ? mask : spec.masking(x[0]);
      const actual = spec.masking === 'passes' ? given() : (layer.computeMask(one(x), undefined) as tf.Tensor | null);
      expect(Array.from((await actual?.data()) ?? []), 'the mask after the layer').toEqual(Array.from(await expected.data()));
    },
  };

  if (learningRate > 0) {
    checks['lowers the loss in one step of fit'] = async () => {
      const { model, x, y } = training();
      if (spec.seededMatrices === true) model.setWeights(seededWeights(model));
      const loss = async () => (await [model.evaluate(x, y)].flat()[0].data())[0];
      const before = await loss();
      await model.fit(x, y, { epochs: 1, batchSize: BATCH, verbose: 0 });
      expect(await loss(), 'loss after the step').toBeLessThan(before);
    };
  }
  if (spec.rejectsUnknownOptions ?? true) {
    checks['names an option that it does not know'] = () => {
      expect(() => create({ ...args, misspeltOption: 1 }), 'misspeltOption is an error').toThrow(/unknown option 'misspeltOption'/);
    };
  }
  return checks;
}

export function layerContract<Args extends object>(spec: LayerContractArgs<Args>): void {
  contractTests('layer', spec.create, (create) => layerChecks({ ...spec, create }));
}
