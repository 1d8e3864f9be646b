/** One network with one seed: trained for its budget on patches of all scales, the weights that are best on held-out images kept, then tested. */
import * as tfc from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import type { InterruptWatch } from '../common/interrupt.js';
import { cropped, greyPng, type Luminance } from '../common/luminance.js';
import { withProgress } from '../common/progress.js';
import { seededRandom, withSeededMath } from '../common/random.js';
import { cutTo, pairsOf, randomBatch, scaleWeights, type Pairs, type SuperResolutionData } from './data.js';
import { recursiveSupervision } from './library.js';
import { network } from './networks.js';
import { psnr, qualityOf } from './quality.js';
import type { LookRecord, PictureRecord, ScaleRecord, VariantRecord } from './record.js';
import { degraded } from './resize.js';
import { LABELS, SCALES, type Settings, type VariantName } from './settings.js';

export interface Job {
  data: SuperResolutionData;
  settings: Settings;
  watch: InterruptWatch;
}

/** Seconds of processor time that this process has used, on all threads. */
const processorSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

export async function runVariant({ data, settings, watch }: Job, variant: VariantName, seed: number): Promise<VariantRecord> {
  const begun = performance.now();
  // The recipes' initializers draw from Math.random.
  const model = withSeededMath(seed, () => network(variant, settings.model));
  const [train, heldOut] = [data.train, data.heldOut].map((images) => images.map(pairsOf));
  const { looks, steps, processor } = await fit(model, train, heldOut, settings.training, `${LABELS[variant]}, seed ${seed}`, seed, watch);
  const scales = SCALES.map((scale) => tested(model, data, scale));
  const picture = pictureOf(model, data);
  const parameters = model.countParams();
  model.dispose();
  return { seed, variant, parameters, steps, looks, scales, picture, processorSeconds: processor, seconds: (performance.now() - begun) / 1000 };
}

async function fit(model: tfl.LayersModel, train: readonly Pairs[], heldOut: readonly Pairs[], settings: Settings['training'], label: string, seed: number, watch: InterruptWatch) {
  const { minutes, batchSize, patch, learningRate, clip, looks } = settings;
  const outputs = model.outputs.length - 1;
  const ofScale = scaleWeights(train);
  let weights: tfc.Tensor;
  const loss = (y: tfc.Tensor, p: tfc.Tensor): tfc.Tensor => tfc.mul(weights, tfc.square(tfc.sub(p, y)));
  const supervision = outputs === 0 ? null : recursiveSupervision({ steps: outputs, loss });
  const losses = supervision?.losses ?? [(y: tfc.Tensor, p: tfc.Tensor): tfc.Scalar => tfc.mean(loss(y, p))];
  const optimizer = tfc.train.adam(learningRate, 0.9, 0.999, 1e-7);
  const variables = model.trainableWeights.map((weight) => weight.read() as tfc.Variable);
  const random = seededRandom(seed);
  const done: LookRecord[] = [];
  let best = { psnr: -Infinity, weights: [] as tfc.Tensor[] };
  let [used, steps] = [0, 0];
  const budget = 60 * minutes;
  await withProgress(label, 1000, 0, async (progress) => {
    while (used < budget) {
      const before = processorSeconds();
      const share = used / budget;
      (optimizer as unknown as { learningRate: number }).learningRate = learningRate * (0.01 + 0.99 * 0.5 * (1 + Math.cos(Math.PI * share)));
      if (supervision !== null) supervision.alpha = Math.max(0, 1 - share / settings.supervision);
      const batch = randomBatch(train, ofScale, batchSize, patch, random);
      tfc.tidy(() => {
        const [x, y] = [batch.inputs, batch.targets].map((values) => tfc.tensor4d(values, [batchSize, patch, patch, 1]));
        weights = tfc.tensor4d(batch.weights, [batchSize, 1, 1, 1]);
        const total = () => {
          const predicted = [model.apply(x, { training: true })].flat() as tfc.Tensor[];
          return losses.map((each, i) => each(y, predicted[i])).reduce((a, b) => tfc.add(a, b)) as tfc.Scalar;
        };
        optimizer.applyGradients(clipped(tfc.variableGrads(total, variables).grads, clip) as never);
      });
      steps++;
      used += processorSeconds() - before;
      if (used >= ((done.length + 1) * budget) / looks) {
        const value = await heldOutPsnr(model, heldOut);
        done.push({ share: Math.min(1, used / budget), steps, psnr: value });
        if (value > best.psnr) {
          tfc.dispose(best.weights);
          best = { psnr: value, weights: model.getWeights().map((weight) => tfc.clone(weight)) };
        }
      }
      progress.update(Math.min(1000, Math.round((1000 * used) / budget)), done.length > 0 ? `held out ${done.at(-1)!.psnr.toFixed(2)} dB` : '');
      await watch.check();
    }
    progress.finish(`held out ${best.psnr.toFixed(2)} dB`);
  });
  if (best.weights.length > 0) model.setWeights(best.weights);
  tfc.dispose(best.weights);
  optimizer.dispose();
  return { looks: done, steps, processor: used };
}

/** All gradients scaled down together where their norm is above `limit`. */
function clipped(gradients: tfc.NamedTensorMap, limit: number): tfc.NamedTensorMap {
  const norm = tfc.sqrt(Object.values(gradients).map((gradient) => tfc.sum(tfc.square(gradient))).reduce((a, b) => tfc.add(a, b))); // prettier-ignore
  const factor = tfc.div(limit, tfc.maximum(norm, limit));
  return Object.fromEntries(Object.entries(gradients).map(([name, gradient]) => [name, tfc.mul(gradient, factor)]));
}

/** What the network makes of an interpolated image. */
export function sharpened(model: tfl.LayersModel, { width, height, values }: Luminance): Luminance {
  const output = tfc.tidy(() => {
    const x = tfc.tensor4d(values.map((value) => value / 255), [1, height, width, 1]);
    const [main] = [model.predict(x)].flat();
    return tfc.mul(main, 255);
  });
  const result = output.dataSync() as Float32Array;
  output.dispose();
  return { width, height, values: result };
}

/** Mean PSNR of the held-out images over all scales, borders included. */
async function heldOutPsnr(model: tfl.LayersModel, pairs: readonly Pairs[]): Promise<number> {
  const each = pairs.flatMap(({ sharp, blurred }) => [...blurred.values()].map((image) => psnr(sharpened(model, image), sharp)));
  return mean(each);
}

function tested(model: tfl.LayersModel, data: SuperResolutionData, scale: number): ScaleRecord {
  const images = data.test.map(({ name, image }) => {
    const sharp = cutTo(image, scale);
    const interpolated = degraded(sharp, scale);
    return { name, network: qualityOf(sharpened(model, interpolated), sharp, scale), bicubic: qualityOf(interpolated, sharp, scale) };
  });
  const averaged = (kind: 'network' | 'bicubic') => ({ psnr: mean(images.map((each) => each[kind].psnr)), ssim: mean(images.map((each) => each[kind].ssim)) });
  return { scale, images, network: averaged('network'), bicubic: averaged('bicubic') };
}

const mean = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length;

/** Side of the part that is shown, and its scale. */
const [SHOWN, SHOWN_SCALE] = [80, 3];

/** The middle of a test image at ×3: original, interpolated, and by the network. */
function pictureOf(model: tfl.LayersModel, data: SuperResolutionData): PictureRecord {
  const { name, image } = data.test[Math.min(2, data.test.length - 1)];
  const sharp = cutTo(image, SHOWN_SCALE);
  const interpolated = degraded(sharp, SHOWN_SCALE);
  const part = (whole: Luminance) => {
    const side = Math.min(SHOWN, whole.width, whole.height);
    return Buffer.from(greyPng(cropped(whole, (whole.width - side) >> 1, (whole.height - side) >> 1, side, side))).toString('base64');
  };
  return { name, scale: SHOWN_SCALE, sharp: part(sharp), bicubic: part(interpolated), network: part(sharpened(model, interpolated)) };
}
