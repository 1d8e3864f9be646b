/**
 * What an error of each single weight counts: the diagonal of the Gauss–Newton matrix of a model's outputs, Σ over samples and outputs of (∂y/∂w)²,
 * estimated by random signs (Hutchinson 1989): (∂(vᵀy)/∂w)² has that mean for independent v = ±1. As in Choi, El-Khamy & Lee, "Towards the limit
 * of network quantization", ICLR 2017, with the outputs themselves for the loss, so that no labels are needed. Needs a backend.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { linearize } from '../autodiff/linearize.js';
import { variableOf } from '../host.js';
import { isMatrix } from './weight_kind.js';

/** Samples in one pass: squares are taken of sums over so many, whose cross terms vanish in the mean only. */
const CHUNK = 32;
/** Passes in all: their number sets the spread of the estimates, √(2 / passes) of each. */
const PASSES = 96;
const MOST_DRAWS = 16;

/**
 * For each matrix among the model's weights, by its name, Σ over `inputs` and outputs of (scale · ∂y/∂w)²: Σ h d² is the squared change of the
 * scaled outputs by small independent errors d. `scale` gives as many numbers as it gets.
 *
 * @throws Error if an operation has no gradient.
 */
export async function outputCurvature(model: LayersModel, inputs: tfc.Tensor | tfc.Tensor[], scale: (y: tfc.Tensor, output: number) => tfc.Tensor): Promise<Map<string, Float32Array>> {
  const all = [inputs].flat();
  const samples = all[0].shape[0];
  const weights = model.weights.filter(({ originalName: name, shape, dtype }) => dtype === 'float32' && isMatrix({ name, shape: shape as number[] }));
  const variables = weights.map(variableOf);
  const draws = Math.min(MOST_DRAWS, Math.max(1, Math.round(PASSES / Math.ceil(samples / CHUNK))));
  let sums: tfc.Tensor[] = variables.map((variable) => tfc.zerosLike(variable));
  let seed = 1;
  for (let start = 0; start < samples; start += CHUNK) {
    const next = tfc.tidy(() => {
      const part = all.map((x) => tfc.slice(x, start, Math.min(CHUNK, samples - start)));
      const outputs = linearize(() => model.apply(part.length === 1 ? part[0] : part, { training: false }) as tfc.Tensor | tfc.Tensor[], variables);
      const scales = outputs.value.map(scale);
      let added = sums;
      for (let draw = 0; draw < draws; draw++) {
        const signs = scales.map((factor) => tfc.mul(tfc.sign(tfc.randomUniform(factor.shape, -1, 1, 'float32', seed++)), factor) as tfc.Tensor);
        added = outputs.vjp(signs).map((gradient, w) => tfc.add(added[w], tfc.square(gradient)));
      }
      outputs.dispose();
      return added;
    });
    tfc.dispose(sums);
    sums = next;
  }
  const found = await Promise.all(sums.map(async (sum) => ((await sum.data()) as Float32Array).map((h) => h / draws)));
  tfc.dispose(sums);
  return new Map(weights.map(({ originalName }, w) => [originalName, found[w]]));
}
