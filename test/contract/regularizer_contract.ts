/** What every regularizer of this package keeps, on every backend. Call `regularizerContract` inside a `describe`. */

import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, models, sequential, type LayersModel, type regularizers } from '@tensorflow/tfjs-layers';
import { expect } from 'vitest';
import { alive, contractTests, expectNear, seeded, type Checks } from './fixtures.js';

type Regularizer = ReturnType<typeof regularizers.l1l2>;
type Variable = ReturnType<layers.Layer['getWeights']>[number];

export interface RegularizerContractArgs<Args extends object> {
  /** Class name under which it is saved. */
  name: string;
  create: (args: Args) => Regularizer;
  /** Every option, with values that are not the defaults. */
  args: Args;
  /**
   * What one instance adds to the loss for these weight tensors, in float64, by another route than the implementation. `regularizer` is that
   * instance, for state that it keeps (a mixture).
   */
  energy: (weights: Float64Array[], regularizer: Regularizer) => number;
  /** A layer that is called twice counts once (ours), or twice as with the host's own regularizers. Default 'once'. */
  layerUsedTwice?: 'once' | 'twice';
  /** Largest error over largest value, for the energy and for gradients against finite differences. Default 1e-5 and 1e-3. */
  tolerance?: { energy?: number; gradient?: number };
  /** Options that are errors: a misspelt one must throw, naming it. Default true; the host's own regularizers ignore them. */
  rejectsUnknownOptions?: boolean;
}

/** Coordinates whose gradient is compared with finite differences. */
const PROBES = 16;
const STEP = 1e-4;

export function regularizerChecks<Args extends object>(spec: RegularizerContractArgs<Args>): Checks {
  const { create, args, layerUsedTwice = 'once', tolerance = {} } = spec;
  const dense = (units: number, regularizer: Regularizer, seed: number, inputShape?: number[]) =>
    layers.dense({ units, inputShape, kernelRegularizer: regularizer, kernelInitializer: initializers.randomUniform({ minval: -1, maxval: 1, seed }) });

  /** Two regularised kernels, [5, 6] and [6, 3], of one instance. */
  function build(kind: 'sequential' | 'functional') {
    const regularizer = create(args);
    const stack = [dense(6, regularizer, 1, [5]), dense(3, regularizer, 2)];
    let model: LayersModel;
    if (kind === 'sequential') model = sequential({ layers: stack });
    else {
      const x = input({ shape: [5] });
      model = functionalModel({ inputs: x, outputs: stack[1].apply(stack[0].apply(x)) as typeof x });
    }
    return { model, regularizer, kernels: stack.map((layer) => layer.getWeights()[0]) };
  }
  /** One layer called twice, with one kernel [5, 5]. */
  function buildShared() {
    const regularizer = create(args);
    const shared = dense(5, regularizer, 1);
    const x = input({ shape: [5] });
    const model = functionalModel({ inputs: x, outputs: shared.apply(shared.apply(x)) as typeof x });
    return { model, regularizer, kernels: [shared.getWeights()[0]] };
  }
  const values = (kernels: Variable[]) => Promise.all(kernels.map(async (kernel) => Float64Array.from(await kernel.data())));
  const added = (model: LayersModel) => tf.addN(model.calculateLosses());
  const data = (model: LayersModel) => [seeded([8, 5], 11), seeded([8, ...(model.outputs[0].shape.slice(1) as number[])], 12)];
  /** Energy and gradients in one evaluation, as a training step makes them. */
  async function differentiate(model: LayersModel, kernels: Variable[]) {
    const { value, grads } = tf.variableGrads(() => added(model) as tf.Scalar, kernels as unknown as tf.Variable[]);
    const gradients = await Promise.all(kernels.map((kernel) => grads[(kernel as unknown as tf.Variable).name].data()));
    const [energy] = await value.data();
    tf.dispose([value, grads]);
    return { energy, gradients };
  }

  const checks: Checks = {
    'comes back from the JSON of a saved model with the same class and config': async () => {
      const { model, regularizer } = build('functional');
      const text = JSON.stringify(model.toJSON(null, false));
      const back = await models.modelFromJSON(JSON.parse(text) as Parameters<typeof models.modelFromJSON>[0]);
      for (const { name } of model.layers.filter((layer) => layer.getClassName() === 'Dense')) {
        const loaded = (back.getLayer(name) as unknown as { kernelRegularizer: Regularizer }).kernelRegularizer;
        expect(loaded.getClassName()).toBe(spec.name);
        // The arguments; state that a regularizer keeps beside them has its own tests.
        const [kept, saved] = [loaded.getConfig(), regularizer.getConfig()];
        for (const key of Object.keys(args)) expect(kept[key], `config.${key} after loading`).toEqual(saved[key]);
      }
    },

    'holds every given argument in its config, under the same name': () => {
      const config = create(args).getConfig();
      for (const [key, given] of Object.entries(args)) {
        if (typeof given === 'number') expectNear(`config.${key}`, [config[key] as number], [given], 1e-6);
        else expect(config[key], `config.${key}`).toEqual(given);
      }
    },

    'adds the energy of the reference to the loss, one instance over several layers': async () => {
      const { model, regularizer, kernels } = build('functional');
      const { energy } = await differentiate(model, kernels);
      expectNear('energy', [energy], [spec.energy(await values(kernels), regularizer)], tolerance.energy ?? 1e-5);
    },

    'has the gradient of the reference, by finite differences': async () => {
      const { model, regularizer, kernels } = build('functional');
      const actual = (await differentiate(model, kernels)).gradients;
      const weights = await values(kernels);
      const [probed, expected]: [number[], number[]] = [[], []];
      weights.forEach((weight, tensor) => {
        for (let probe = 0; probe < PROBES; probe++) {
          const at = (probe * 7 + 3) % weight.length;
          const [kept, sides] = [weight[at], [0, 0]];
          [kept + STEP, kept - STEP].forEach((shifted, side) => {
            weight[at] = shifted;
            sides[side] = spec.energy(weights, regularizer);
          });
          weight[at] = kept;
          probed.push(actual[tensor][at]);
          expected.push((sides[0] - sides[1]) / (2 * STEP));
        }
      });
      expectNear('gradient', probed, expected, tolerance.gradient ?? 1e-3);
    },

    'has a finite gradient at weights that are all zero': async () => {
      const { model, kernels } = build('functional');
      for (const kernel of kernels) (kernel as unknown as tf.Variable).assign(tf.zeros(kernel.shape));
      for (const gradient of (await differentiate(model, kernels)).gradients) expect(gradient.every(Number.isFinite), 'every number of the gradient is finite').toBe(true);
    },

    [`counts a layer that is used twice ${layerUsedTwice}`]: async () => {
      const { model, regularizer, kernels } = buildShared();
      const { energy } = await differentiate(model, kernels);
      const times = layerUsedTwice === 'once' ? 1 : 2;
      expectNear('energy', [energy], [times * spec.energy(await values(kernels), regularizer)], tolerance.energy ?? 1e-5);
    },

    'leaves no tensor behind over 20 steps': async () => {
      const { model } = build('functional');
      model.compile({ optimizer: tf.train.sgd(1e-3), loss: 'meanSquaredError' });
      const [x, y] = data(model);
      for (let i = 0; i < 2; i++) await model.trainOnBatch(x, y);
      const before = alive();
      for (let i = 0; i < 20; i++) await model.trainOnBatch(x, y);
      expect(alive(), 'tensors and buffers after 20 more steps').toEqual(before);
    },
  };

  for (const kind of ['sequential', 'functional'] as const) {
    checks[`adds its energy to the training loss of a ${kind} model in fit`] = async () => {
      const { model, regularizer, kernels } = build(kind);
      // A learning rate of zero: the weights stay, so that the loss of the epoch is the loss of these weights.
      model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
      const [x, y] = data(model);
      const [ofData] = await (model.evaluate(x, y) as tf.Scalar).data();
      const { history } = await model.fit(x, y, { epochs: 1, batchSize: 8, verbose: 0 });
      const energy = spec.energy(await values(kernels), regularizer);
      expectNear('loss of the epoch less the loss of the data', [(history.loss[0] as number) - ofData], [energy], 10 * (tolerance.energy ?? 1e-5), Math.abs(ofData));
    };
  }
  if (spec.rejectsUnknownOptions ?? true) {
    checks['names an option that it does not know'] = () => {
      expect(() => create({ ...args, misspeltOption: 1 }), 'misspeltOption is an error').toThrow(/unknown option 'misspeltOption'/);
    };
  }
  return checks;
}

export function regularizerContract<Args extends object>(spec: RegularizerContractArgs<Args>): void {
  contractTests('regularizer', spec.create, (create) => regularizerChecks({ ...spec, create }));
}
