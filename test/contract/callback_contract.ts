/** What every callback of this package keeps, on every backend. Call `callbackContract` inside a `describe`. */

import * as tf from '@tensorflow/tfjs-core';
import { callbacks as hostCallbacks, initializers, input, layers, model as functionalModel, sequential, type Callback, type LayersModel } from '@tensorflow/tfjs-layers';
import { expect } from 'vitest';
import { alive, contractTests, datasetOf, saveAndLoad, seeded, type Checks } from './fixtures.js';

export type ModelKind = 'sequential' | 'functional';

export interface CallbackContractArgs {
  /** A fresh callback, for the model that it is about to be used with. */
  create: (model: LayersModel) => Callback;
  /** The model to train, uncompiled, with two inputs and one output a row. Default: a small dense network. */
  model?: (kind: ModelKind) => LayersModel;
  /** Keys that it puts into the history: one finite number an epoch. */
  historyKeys?: string[];
  /** The same callback given to a second fit works, or says why not. Default 'works'. */
  secondFit?: 'works' | RegExp;
  /** Frees what a callback and a model trained with it hold on purpose (the weights before quantising). */
  dispose?: (callback: Callback) => void;
}

const EPOCHS = 3;
const ROWS = 24;
const BATCH = 8;

/** The default model of the contract. */
export function smallNetwork(kind: ModelKind): LayersModel {
  const stack = [
    layers.dense({ units: 4, inputShape: [2], activation: 'tanh', kernelInitializer: initializers.glorotUniform({ seed: 1 }) }),
    layers.dense({ units: 1, kernelInitializer: initializers.glorotUniform({ seed: 2 }) }),
  ];
  if (kind === 'sequential') return sequential({ layers: stack });
  const x = input({ shape: [2] });
  return functionalModel({ inputs: x, outputs: stack[1].apply(stack[0].apply(x)) as typeof x });
}

export function callbackChecks(spec: CallbackContractArgs): Checks {
  const { create, historyKeys = [], secondFit = 'works', dispose = () => {} } = spec;
  const data = () => [seeded([ROWS, 2], 21), seeded([ROWS, 1], 22)];
  const compiled = (model: LayersModel) => {
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    return model;
  };
  const build = (kind: ModelKind) => compiled((spec.model ?? smallNetwork)(kind));

  async function fit(model: LayersModel, callbacks: Callback[], epochs = EPOCHS) {
    const [x, y] = data();
    try {
      return await model.fit(x, y, { epochs, batchSize: BATCH, verbose: 0, callbacks });
    } finally {
      tf.dispose([x, y]);
    }
  }
  async function fitDataset(model: LayersModel, callbacks: Callback[], epochs = EPOCHS) {
    const [x, y] = data();
    try {
      return await model.fitDataset(datasetOf(x, y, BATCH), { epochs, verbose: 0, callbacks });
    } finally {
      tf.dispose([x, y]);
    }
  }
  function expectHistory(history: Record<string, unknown[]>, epochs: number) {
    for (const key of ['loss', ...historyKeys]) {
      expect(history, `history lacks '${key}'`).toHaveProperty(key);
      expect(history[key].length, `history.${key}: one value an epoch`).toBe(epochs);
      for (const value of history[key]) expect(Number.isFinite(value), `history.${key}: ${String(value)} is a finite number`).toBe(true);
    }
  }

  const checks: Checks = {};
  for (const kind of ['sequential', 'functional'] as const) {
    checks[`works with fit of a ${kind} model and logs into its history`] = async () => {
      const model = build(kind);
      const { history } = await fit(model, [create(model)]);
      expectHistory(history, EPOCHS);
    };
    checks[`works with fitDataset of a ${kind} model and logs into its history`] = async () => {
      const model = build(kind);
      const { history } = await fitDataset(model, [create(model)]);
      expectHistory(history, EPOCHS);
    };
  }
  for (const order of ['before', 'after'] as const) {
    checks[`composes with EarlyStopping that stands ${order} it`] = async () => {
      const model = build('sequential');
      // No loss falls by 1e9: the host stops at the end of the second epoch.
      const early = hostCallbacks.earlyStopping({ monitor: 'loss', minDelta: 1e9, patience: 0 });
      const ours = create(model);
      const { history } = await fit(model, order === 'before' ? [early, ours] : [ours, early], 6);
      expectHistory(history, 2);
    };
  }
  checks['leaves no tensor behind, however many epochs'] = async () => {
    const model = build('functional');
    const left = async (epochs: number) => {
      const before = alive();
      const callback = create(model);
      await fit(model, [callback], epochs);
      dispose(callback);
      const after = alive();
      return { tensors: after.tensors - before.tensors, buffers: after.buffers - before.buffers };
    };
    await left(1);
    expect(await left(1), 'what one more epoch leaves').toEqual({ tensors: 0, buffers: 0 });
    expect(await left(5), 'what five more epochs leave').toEqual({ tensors: 0, buffers: 0 });
  };
  checks['works on a model that was saved and loaded'] = async () => {
    const model = build('functional');
    const loaded = compiled(await saveAndLoad(model));
    const { history } = await fit(loaded, [create(loaded)]);
    expectHistory(history, EPOCHS);
  };
  checks[secondFit === 'works' ? 'can be used for a second fit' : 'says why it cannot be used for a second fit'] = async () => {
    const model = build('functional');
    const callback = create(model);
    await fit(model, [callback]);
    const again = fit(model, [callback]);
    if (secondFit === 'works') expectHistory((await again).history, EPOCHS);
    else await expect(again).rejects.toThrow(secondFit);
  };
  return checks;
}

export function callbackContract(spec: CallbackContractArgs): void {
  contractTests('callback', spec.create, (create) => callbackChecks({ ...spec, create }));
}
