/** How much a model's outputs change with each of its weights: what an error of a weight counts, measured. Needs a backend. */
import * as tfc from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { checkModelInputs } from '../callbacks/model_inputs.js';
import { variableOf } from '../host.js';
import type { OutputSensitivity } from './compress_source.js';
import { outputCurvature } from './curvature.js';
import { WHO } from './options.js';

/** Mean squares smaller than this are taken for it: of outputs that are 0. */
const LEAST_SQUARE = 1e-20;
/** Of outputs that are finite no more. */
const MOST_CHANGE = 1e12;
/** Probabilities likewise. */
const LEAST_PROBABILITY = 1e-6;

/**
 * The change of outputs on `inputs`: the squared change relative to the mean square, or for rows of probabilities (softmax) twice the Kullback–Leibler
 * divergence, which small changes dy make Σ dy² / y. The change by a weight that is replaced is measured as such (the weight is put back), that by
 * small errors of single weights by derivatives. `dispose` frees the outputs that are compared with.
 */
export async function measureOutputs(model: LayersModel, inputs: tfc.Tensor | tfc.Tensor[]): Promise<OutputSensitivity & { dispose: () => void }> {
  checkModelInputs(`${WHO}: inputs`, [inputs].flat(), model);
  const predict = (): tfc.Tensor[] => [model.predict(inputs)].flat();
  const before = predict();
  const samples = before[0].shape[0];
  const squares = await Promise.all(before.map((y) => numberOf(() => tfc.sum(tfc.square(y)))));
  const broken = squares.findIndex((square) => !Number.isFinite(square));
  if (broken >= 0) {
    tfc.dispose(before);
    throw new Error(`${WHO}: inputs: output ${broken + 1} of the model is not finite on these inputs, so that nothing can be measured by it. Look for NaN in the inputs and in the weights.`);
  }
  const probabilities = await Promise.all(before.map(async (y) => (await numberOf(() => tfc.max(tfc.abs(tfc.sub(tfc.sum(y, -1), 1))))) < 1e-3 && (await numberOf(() => tfc.min(y))) >= 0));

  const divergence = (p: tfc.Tensor, q: tfc.Tensor): tfc.Scalar =>
    tfc.div(tfc.mul(2, tfc.sum(tfc.mul(p, tfc.log(tfc.div(tfc.maximum(p, LEAST_PROBABILITY), tfc.maximum(q, LEAST_PROBABILITY)))))), samples);
  const changeOf = (after: tfc.Tensor, o: number): tfc.Scalar =>
    probabilities[o] ? divergence(before[o], after) : tfc.div(tfc.sum(tfc.squaredDifference(after, before[o])), Math.max(squares[o], LEAST_SQUARE));

  const change: OutputSensitivity['change'] = async (name, values) => {
    const weight = model.weights.find(({ originalName }) => originalName === name);
    if (weight === undefined) throw new Error(`${WHO}: the model has no weight '${name}'.`);
    const variable = variableOf(weight);
    const old = tfc.clone(variable);
    const replaced = tfc.tensor(values, variable.shape);
    try {
      variable.assign(replaced as never);
      const found = await numberOf(() => predict().map(changeOf).reduce((sum, part) => tfc.add(sum, part))); // prettier-ignore
      // An error that breaks the outputs counts as much as one can. Rounding may take a divergence below 0.
      return Number.isFinite(found) ? Math.max(0, found) : MOST_CHANGE;
    } finally {
      variable.assign(old as never);
      tfc.dispose([old, replaced]);
    }
  };
  const scale = (y: tfc.Tensor, o: number): tfc.Tensor =>
    probabilities[o] ? tfc.rsqrt(tfc.mul(samples, tfc.maximum(y, LEAST_PROBABILITY))) : tfc.fill(y.shape, 1 / Math.sqrt(Math.max(squares[o], LEAST_SQUARE)));
  return { change, importances: () => outputCurvature(model, inputs, scale), dispose: () => tfc.dispose(before) };
}

async function numberOf(f: () => tfc.Tensor): Promise<number> {
  const result = tfc.tidy(f);
  const [value] = await result.data();
  result.dispose();
  return value;
}
