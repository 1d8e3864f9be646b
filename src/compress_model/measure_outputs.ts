/** How much a model's outputs change with each of its weights: what an error of a weight counts, measured. Needs a backend. */
import * as tfc from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { variableOf } from '../host.js';
import { WHO } from './options.js';
import type { MeasureOutputs } from './compress_source.js';

/**
 * Σ over outputs of the mean squared change on `inputs` when one weight is replaced, relative to the mean square of that output. The weight is
 * put back after each measurement. `dispose` frees the outputs that are compared with.
 */
export function measureOutputs(model: LayersModel, inputs: tfc.Tensor | tfc.Tensor[]): { measure: MeasureOutputs; dispose: () => void } {
  const predict = (): tfc.Tensor[] => [model.predict(inputs)].flat();
  const before = predict();
  const measure: MeasureOutputs = async (name, values) => {
    const weight = model.weights.find(({ originalName }) => originalName === name);
    if (weight === undefined) throw new Error(`${WHO}: the model has no weight '${name}'.`);
    const variable = variableOf(weight);
    const old = tfc.clone(variable);
    const replaced = tfc.tensor(values, variable.shape);
    let change: tfc.Scalar | null = null;
    try {
      variable.assign(replaced as never);
      change = tfc.tidy(() => {
        const parts = predict().map((after, i) => tfc.div(tfc.mean(tfc.squaredDifference(after, before[i])), tfc.maximum(tfc.mean(tfc.square(before[i])), 1e-20)));
        return parts.reduce((sum, part) => tfc.add(sum, part)) as tfc.Scalar;
      });
      return (await change.data())[0];
    } finally {
      variable.assign(old as never);
      tfc.dispose([old, replaced, ...(change === null ? [] : [change])]);
    }
  };
  return { measure, dispose: () => tfc.dispose(before) };
}
