/** One network with one seed: trained, looked at on held-out images after each epoch, tested once after the last. */
import * as tfc from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import { withSeededShuffling } from '../common/compression/train.js';
import { countOf, type LabelledImages } from '../common/images.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { withProgress } from '../common/progress.js';
import { seededRandom } from '../common/random.js';
import { inputShapeOf, pixelsOf, shuffledBatches, type Augmentation, type PreparedSet, type Standard } from './data.js';
import type { RecursiveConv } from './library.js';
import { network } from './networks.js';
import type { VariantRun } from './record.js';
import type { Settings } from './settings.js';
import type { Variant } from './variants.js';

export interface Job {
  set: PreparedSet;
  settings: Settings;
  watch: InterruptWatch;
}

/** Images at a time where nothing is trained. */
const EVALUATED = 250;

export function runVariant(job: Job, variant: Variant, seed: number): Promise<VariantRun> {
  // The layers' initializers and dropout draw from Math.random.
  return withSeededShuffling(seed, async () => {
    const begun = performance.now();
    const { set, settings } = job;
    const model = network(variant.spec, inputShapeOf(set), settings);
    try {
      const epochs = await fit(model, job, variant, seed);
      const trained = performance.now();
      const held = await tested(model, set.validation, set.standard);
      const test = await tested(model, set.test, set.standard);
      return {
        seed, variant: variant.key, parameters: trainableParameters(model), epochs, heldOut: held.error, test: test.error,
        loops: held.loops === null ? null : { heldOut: held.loops, test: test.loops! }, seconds: (trained - begun) / 1000,
      }; // prettier-ignore
    } finally {
      model.dispose();
    }
  });
}

/** Without running statistics. */
export const trainableParameters = (model: tfl.LayersModel): number => model.trainableWeights.reduce((total, { shape }) => total + shape.reduce((a, b) => a! * b!, 1)!, 0);

async function fit(model: tfl.LayersModel, { set, settings, watch }: Job, { key, spec }: Variant, seed: number): Promise<VariantRun['epochs']> {
  const { batchSize, learningRate, shift } = settings.training;
  const { epochs } = settings[spec.part];
  const { train, validation, standard, mirrors } = set;
  const augmentation: Augmentation = { random: seededRandom(1000 + seed), mirrors, shift };
  const optimizer = tfc.train.adam(learningRate);
  model.compile({ optimizer, loss: 'categoricalCrossentropy' });
  const records: VariantRun['epochs'] = [];
  const steps = epochs * Math.ceil(countOf(train) / batchSize);
  let step = 0;
  try {
    await withProgress(`${key}, seed ${seed}`, steps, 0, async (progress) => {
      for (let epoch = 0; epoch < epochs; epoch++) {
        let total = 0;
        for (const positions of shuffledBatches(countOf(train), batchSize, augmentation.random)) {
          // Public in JavaScript, protected in the types; there is no setter.
          (optimizer as unknown as { learningRate: number }).learningRate = learningRate * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
          const xs = imageTensor(train, pixelsOf(train, positions, standard, augmentation));
          const ys = tfc.tidy(() => tfc.cast(tfc.oneHot(tfc.tensor1d(Int32Array.from(positions, (p) => train.labels[p]), 'int32'), 10), 'float32'));
          total += positions.length * ([await model.trainOnBatch(xs, ys)].flat()[0] as number);
          tfc.dispose([xs, ys]);
          progress.update(++step, records.length > 0 ? `held-out error ${records.at(-1)!.heldOut.toFixed(1)} %` : '');
          await watch.check();
        }
        records.push({ loss: total / countOf(train), heldOut: (await tested(model, validation, standard)).error });
      }
      progress.finish(`held-out error ${records.at(-1)!.heldOut.toFixed(1)} %`);
    });
    return records;
  } finally {
    optimizer.dispose();
  }
}

const imageTensor = ({ height, width, channels = 1 }: LabelledImages, pixels: Float32Array): tfc.Tensor4D => tfc.tensor4d(pixels, [pixels.length / (height * width * channels), height, width, channels]);

/** Percent of images whose most probable class is wrong, and with gates the mean number of loops. */
async function tested(model: tfl.LayersModel, data: LabelledImages, standard: Standard): Promise<{ error: number; loops: number | null }> {
  const gated = model.layers.find((layer) => layer.getClassName() === 'RecursiveConv' && layer.getConfig()['gate'] != null) as RecursiveConv | undefined;
  const count = countOf(data);
  let [wrong, loops] = [0, 0];
  for (let start = 0; start < count; start += EVALUATED) {
    const positions = Array.from({ length: Math.min(EVALUATED, count - start) }, (_, i) => start + i);
    const classes = tfc.tidy(() => tfc.argMax(model.predict(imageTensor(data, pixelsOf(data, positions, standard, null)), { batchSize: EVALUATED }) as tfc.Tensor, 1));
    const predicted = await classes.data();
    classes.dispose();
    positions.forEach((p, i) => (wrong += predicted[i] === data.labels[p] ? 0 : 1));
    if (gated !== undefined) loops += (await gated.depths()).reduce((total, depth) => total + depth, 0);
  }
  return { error: (100 * wrong) / count, loops: gated === undefined ? null : loops / count };
}
