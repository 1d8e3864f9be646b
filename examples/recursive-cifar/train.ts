/** Training a network on a set, and testing it. */
import * as tfc from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import { countOf, type LabelledImages } from '../common/images.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { withProgress } from '../common/progress.js';
import { seededRandom } from '../common/random.js';
import { pixelsOf, shuffledBatches, type Augmentation, type PreparedSet, type Standard } from './data.js';
import { acceptSparseTargets, distillation, type RecursiveConv } from './library.js';
import { CLASSES } from './parts.js';
import type { EpochRecord } from './record.js';
import type { Settings } from './settings.js';

/** Images at a time where nothing is trained. */
const EVALUATED = 250;

/** Whose logits are learned beside the labels. */
export interface Teaching {
  teacher: tfl.LayersModel;
  temperature: number;
  alpha: number;
}

export interface Training {
  model: tfl.LayersModel;
  set: PreparedSet;
  settings: Settings['training'];
  epochs: number;
  seed: number;
  /** Whether the model puts out logits, or their softmax. */
  logits: boolean;
  teaching: Teaching | null;
  label: string;
  watch: InterruptWatch;
}

const softmaxCrossEntropy = (labels: tfc.Tensor, logits: tfc.Tensor): tfc.Tensor => tfc.losses.softmaxCrossEntropy(labels, logits);

/** Looks at held-out images after each epoch; disposes of its optimizer, not of the model. */
export async function trained({ model, set, settings, epochs, seed, logits, teaching, label, watch }: Training): Promise<EpochRecord[]> {
  const { batchSize, learningRate, shift } = settings;
  const { train, validation, standard, mirrors } = set;
  const augmentation: Augmentation = { random: seededRandom(1000 + seed), mirrors, shift };
  const optimizer = tfc.train.adam(learningRate);
  const taught = teaching && distillation({ temperature: teaching.temperature, alpha: teaching.alpha });
  model.compile({ optimizer, loss: taught?.loss ?? (logits ? softmaxCrossEntropy : 'categoricalCrossentropy') });
  if (taught !== null) acceptSparseTargets(model);
  // What was moved and mirrored is shown to both.
  const targetsOf = (xs: tfc.Tensor, labels: tfc.Tensor) => (taught === null ? labels : taught.targets(labels, teaching!.teacher.predict(xs) as tfc.Tensor));
  const records: EpochRecord[] = [];
  const steps = epochs * Math.ceil(countOf(train) / batchSize);
  let step = 0;
  const note = () => (records.length > 0 ? `held-out error ${records.at(-1)!.heldOut.toFixed(1)} %` : '');
  try {
    await withProgress(label, steps, 0, async (progress) => {
      for (let epoch = 0; epoch < epochs; epoch++) {
        let total = 0;
        for (const positions of shuffledBatches(countOf(train), batchSize, augmentation.random)) {
          // Public in JavaScript, protected in the types; there is no setter.
          (optimizer as unknown as { learningRate: number }).learningRate = learningRate * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
          const xs = imageTensor(train, pixelsOf(train, positions, standard, augmentation));
          const ys = tfc.tidy(() => targetsOf(xs, tfc.cast(tfc.oneHot(tfc.tensor1d(Int32Array.from(positions, (p) => train.labels[p]), 'int32'), CLASSES), 'float32')));
          total += positions.length * ([await model.trainOnBatch(xs, ys)].flat()[0] as number);
          tfc.dispose([xs, ys]);
          progress.update(++step, note());
          await watch.check();
        }
        records.push({ loss: total / countOf(train), heldOut: (await tested(model, validation, standard)).error });
      }
      progress.finish(note());
    });
    return records;
  } finally {
    optimizer.dispose();
  }
}

const imageTensor = ({ height, width, channels = 1 }: LabelledImages, pixels: Float32Array): tfc.Tensor4D => tfc.tensor4d(pixels, [pixels.length / (height * width * channels), height, width, channels]);

/** Percent of images whose most probable class is wrong, and with gates the mean number of loops. */
export async function tested(model: tfl.LayersModel, data: LabelledImages, standard: Standard): Promise<{ error: number; loops: number | null }> {
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
