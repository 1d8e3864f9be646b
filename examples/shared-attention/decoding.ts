/** How fast the variants decode, in turns: speed depends on what is shared, not on the weights, so that they are drawn anew. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import { cachedDecoding } from 'tfjs-weight-sharing';
import { median } from '../common/variant_runs.js';
import { languageModel } from './model.js';
import type { DecodingSpeed, Measured } from './record.js';
import { VARIANTS, type Settings, type VariantName } from './settings.js';

const WARMUP = 2;

/** Tokens per second, cached and not, of stacks without unused projections; `policies` by variant. */
export async function decodingSpeeds(vocabulary: number, { model: shape, decoding }: Settings, policies: Record<VariantName, number[]>): Promise<Measured> {
  const models = VARIANTS.map((variant) => [variant, languageModel(vocabulary, shape, policies[variant], 1, true)] as const);
  const measured = { cached: await inTurns(models, decoding, cachedSteps), uncached: await inTurns(models, decoding, uncachedSteps) };
  for (const [, model] of models) model.dispose();
  return measured;
}

/** Milliseconds of `steps` steps after the prompt. */
type Decode = (model: tfl.LayersModel, decoding: Settings['decoding']) => Promise<number>;

const cachedSteps: Decode = async (model, { batch, prompt, steps }) => {
  const decoding = cachedDecoding(model);
  let next = await following(decoding.step(prompted(batch, prompt)) as Tensor);
  const begun = performance.now();
  for (let step = 0; step < steps; step++) {
    const given = next;
    next = await following(decoding.step(given) as Tensor);
    given.dispose();
  }
  const elapsed = performance.now() - begun;
  next.dispose();
  decoding.dispose();
  return elapsed;
};

const uncachedSteps: Decode = async (model, { batch, prompt, steps }) => {
  let sequence = prompted(batch, prompt);
  const begun = performance.now();
  for (let step = 0; step < steps; step++) {
    const next = await following(model.predictOnBatch(sequence) as Tensor);
    const longer = tfc.concat([sequence, next], 1);
    tfc.dispose([sequence, next]);
    sequence = longer;
  }
  const elapsed = performance.now() - begun;
  sequence.dispose();
  return elapsed;
};

const prompted = (batch: number, length: number): Tensor => tfc.zeros([batch, length], 'int32');

/** The likeliest token after the last position, [batch, 1]; the scores are freed. It is read: a step is over when its token is known. */
async function following(scores: Tensor): Promise<Tensor> {
  const next = tfc.tidy(() => tfc.argMax(tfc.slice(scores, [0, scores.shape[1]! - 1, 0], [-1, 1, -1]), -1));
  scores.dispose();
  await next.data();
  return next;
}

async function inTurns(models: readonly (readonly [VariantName, tfl.LayersModel])[], decoding: Settings['decoding'], decode: Decode): Promise<DecodingSpeed> {
  const times = Object.fromEntries(VARIANTS.map((variant) => [variant, [] as number[]])) as Record<VariantName, number[]>;
  for (let round = -WARMUP; round < decoding.rounds; round++) {
    for (let i = 0; i < models.length; i++) {
      const [variant, model] = models[(i + round + WARMUP) % models.length];
      const elapsed = await decode(model, decoding);
      if (round >= 0) times[variant].push(elapsed);
    }
  }
  const of = (value: (variant: VariantName) => number) => Object.fromEntries(VARIANTS.map((variant) => [variant, value(variant)])) as Record<VariantName, number>;
  return {
    tokensPerSecond: of((variant) => (1000 * decoding.batch * decoding.steps) / median(times[variant])),
    faster: of((variant) => median(times[variant].map((time, round) => times.unshared[round] / time))),
  };
}
