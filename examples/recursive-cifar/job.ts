/** One network with one seed: made, trained, tested once after its last epoch. */
import type * as tfl from '@tensorflow/tfjs-layers';
import { withSeededShuffling } from '../common/compression/train.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { seededRandom } from '../common/random.js';
import { bankNetwork, groupedNetwork } from './banks.js';
import { inputShapeOf, type PreparedSet } from './data.js';
import { network } from './networks.js';
import { layerSimilarity } from './library.js';
import type { EpochRecord, VariantRun } from './record.js';
import type { Settings } from './settings.js';
import { tested, trained, type Teaching } from './train.js';
import type { Spec, Variant } from './variants.js';

export interface Job {
  set: PreparedSet;
  settings: Settings;
  watch: InterruptWatch;
  /** Networks that teach others, by set and seed: kept where one is trained, to be disposed of by the caller. */
  teachers: Map<string, tfl.LayersModel>;
}

export async function runVariant(job: Job, variant: Variant, seed: number): Promise<VariantRun> {
  const teaching = variant.spec.part === 'banks' && variant.spec.distilled ? await teachingOf(job, variant, seed) : null;
  const begun = performance.now();
  const { model, epochs } = await trainedNetwork(job, variant, seed, teaching);
  const seconds = (performance.now() - begun) / 1000;
  const held = await tested(model, job.set.validation, job.set.standard);
  const test = await tested(model, job.set.test, job.set.standard);
  const parameters = trainableParameters(model);
  const hasTemplates = variant.spec.part === 'templates' && (variant.spec.templates ?? 1) > 1;
  const similarities = hasTemplates ? await layerSimilarity(model) : undefined;
  if (isTeacher(variant.spec)) keep(job, variant, seed, model);
  else model.dispose();
  return {
    seed, variant: variant.key, parameters, ...(similarities !== undefined && { similarities }), epochs, heldOut: held.error, test: test.error,
    loops: held.loops === null ? null : { heldOut: held.loops, test: test.loops! }, seconds,
  }; // prettier-ignore
}

const TEACHER: Spec = { part: 'banks', bank: null, distilled: false };
const isTeacher = (spec: Spec): boolean => spec.part === 'banks' && spec.bank === null;
const keyOf = ({ set }: Variant, seed: number): string => `${set} ${seed}`;

function keep({ teachers }: Job, variant: Variant, seed: number, model: tfl.LayersModel): void {
  teachers.get(keyOf(variant, seed))?.dispose();
  teachers.set(keyOf(variant, seed), model);
}

/** The network without sharing of the same seed: kept, or after --resume trained once more. */
async function teachingOf(job: Job, variant: Variant, seed: number): Promise<Teaching> {
  if (!job.teachers.has(keyOf(variant, seed))) {
    const { model } = await trainedNetwork(job, { ...variant, key: `${variant.set}: teacher`, spec: TEACHER }, seed, null);
    keep(job, variant, seed, model);
  }
  const { temperature, alpha } = job.settings.banks;
  return { teacher: job.teachers.get(keyOf(variant, seed))!, temperature, alpha };
}

function trainedNetwork({ set, settings, watch }: Job, { key, spec }: Variant, seed: number, teaching: Teaching | null): Promise<{ model: tfl.LayersModel; epochs: EpochRecord[] }> {
  const shape = inputShapeOf(set);
  const logits = spec.part === 'banks';
  const train = (model: tfl.LayersModel, epochs: number, label: string) =>
    trained({ model, set, settings: settings.training, epochs, seed, logits, teaching, label: `${label}, seed ${seed}`, watch });
  const made = async () => {
    if (spec.part !== 'banks') return network(spec, shape, settings);
    if (spec.bank === null) return bankNetwork(null, shape, settings.banks);
    return groupedNetwork(spec.bank, shape, settings.banks, seededRandom(seed), async (probe, epochs) => void (await train(probe, epochs, `${key}, grouping`)));
  };
  // The layers' initializers and dropout draw from Math.random.
  return withSeededShuffling(seed, async () => {
    const model = await made();
    try {
      return { model, epochs: await train(model, settings[spec.part].epochs, key) };
    } catch (error) {
      model.dispose();
      throw error;
    }
  });
}

/** Without running statistics. */
const trainableParameters = (model: tfl.LayersModel): number => model.trainableWeights.reduce((total, { shape }) => total + shape.reduce((a, b) => a! * b!, 1)!, 0);
