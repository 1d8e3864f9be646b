/** One model on one task with one seed: train on short sequences, test on longer ones once. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import { acceptSparseTargets, sparseCrossEntropy } from 'tfjs-weight-sharing';
import type { InterruptWatch } from '../common/interrupt.js';
import { withProgress } from '../common/progress.js';
import { seededRandom, withSeededMath, type Random } from '../common/random.js';
import { batchOf, disposeBatch, haltingLayer, IGNORED, positionSignals, sequenceModel } from './model.js';
import { mean, type Accuracy, type Checkpoint, type Ponder, type Run } from './record.js';
import { partsOf, rateAt, widthOf, type ModelName, type Settings, type VariantName } from './settings.js';
import { pairsOf, type Pair } from './tasks.js';

export interface Job {
  settings: Settings;
  watch: InterruptWatch;
}

const CHECKPOINTS = 10;
/** Seeds of the sets that all models are tried on; those of training are the runs' own. */
const SEEDS = { trained: 7001, heldOut: 7002, test: 7003 } as const;

/** Pairs of one length, and which set they belong to. */
interface Group {
  set: Accuracy['set'];
  length: number;
  pairs: Pair[];
}

function groupsOf({ data: { trainLength, heldOut, test, samples } }: Settings, task: Parameters<typeof pairsOf>[0], set: Accuracy['set']): Group[] {
  const random = seededRandom(SEEDS[set]);
  const lengths = { trained: Array.from({ length: trainLength }, (_, i) => i + 1), heldOut, test }[set];
  // As many sequences in all lengths trained on as in two others.
  const count = set === 'trained' ? Math.max(1, Math.round((2 * samples) / trainLength)) : samples;
  return lengths.map((length) => ({ set, length, pairs: pairsOf(task, length, count, random) }));
}

export async function runVariant({ settings, watch }: Job, variant: VariantName, seed: number): Promise<Run> {
  const begun = performance.now();
  const { task, model: name } = partsOf(variant);
  const { data, training } = settings;
  // The layer's initializers draw from Math.random.
  const model = withSeededMath(seed, () => sequenceModel(name, settings, 100 * seed));
  model.compile({ optimizer: tfc.train.adam(training.learningRate, 0.9, 0.98), loss: sparseCrossEntropy({ ignore: IGNORED }) });
  acceptSparseTargets(model);
  const positions = Math.max(data.trainLength, ...data.heldOut, ...data.test) + 1;
  const signals = positionSignals(positions, widthOf(name, settings.model));
  const heldOut = groupsOf(settings, task, 'heldOut');
  const random = seededRandom(seed);
  const checkpoints: Checkpoint[] = [];
  try {
    await withProgress(`${variant}, seed ${seed}`, training.steps, 0, async (progress) => {
      let losses: number[] = [];
      for (let step = 0; step < training.steps; step++) {
        const pairs = pairsOf(task, 1 + random.integer(data.trainLength), training.batchSize, random);
        setLearningRate(model, training.learningRate * rateAt(step, training.steps));
        losses.push(await trainStep(model, pairs, name, signals, random));
        progress.update(step + 1);
        await watch.check();
        if ((step + 1) % Math.ceil(training.steps / CHECKPOINTS) > 0 && step + 1 < training.steps) continue;
        const ponder = name === 'adaptive' ? await ponderNow(model) : null;
        const tried = await tryOut(model, name, heldOut, signals);
        checkpoints.push({ step: step + 1, loss: mean(losses), heldOut: mean(tried.map(({ character }) => character)), ponder });
        losses = [];
      }
      progress.finish(`held-out symbols right ${(100 * checkpoints.at(-1)!.heldOut).toFixed(1)} %`);
    });
    const accuracies: Accuracy[] = [];
    const ponder: Ponder[] = [];
    for (const set of ['trained', 'heldOut', 'test'] as const) {
      const tried = await tryOut(model, name, groupsOf(settings, task, set), signals);
      const groups = tried.map(({ length, sequence, character }) => ({ set, length, sequence, character }));
      accuracies.push(...(set === 'trained' ? [{ set, length: null, sequence: mean(groups.map((g) => g.sequence)), character: mean(groups.map((g) => g.character)) }] : groups));
      if (name === 'adaptive' && set !== 'heldOut') ponder.push(ponderOver(set, tried.map(({ steps }) => steps!)));
    }
    const parameters = model.countParams();
    return { seed, variant, parameters, checkpoints, accuracies, ponder, seconds: Number(((performance.now() - begun) / 1000).toFixed(1)) };
  } finally {
    signals.dispose();
    const { optimizer } = model;
    model.dispose();
    optimizer.dispose();
  }
}

/** Public in JavaScript, protected in the types; there is no setter. */
const setLearningRate = ({ optimizer }: tfl.LayersModel, rate: number) => void ((optimizer as unknown as { learningRate: number }).learningRate = rate);

/** Sequences begin anywhere, so that longer ones have no position that was never seen (Dehghani et al. 2019, §3.3). */
async function trainStep(model: tfl.LayersModel, pairs: readonly Pair[], name: ModelName, signals: Tensor2D, random: Random): Promise<number> {
  const length = Math.max(pairs[0].question.length, pairs[0].answer.length);
  const batch = batchOf(pairs, name, signals, pairs.map(() => random.integer(signals.shape[0] - length + 1)));
  const loss = (await model.trainOnBatch(batch.xs, batch.ys)) as number;
  disposeBatch(batch);
  if (!Number.isFinite(loss)) throw new Error(`universal-transformer: the loss of ${name} is ${loss}. Use a smaller training.learningRate.`);
  return loss;
}

const ponderNow = async (model: tfl.LayersModel): Promise<number> => (await haltingLayer(model).report()).meanUpdates;

interface Steps {
  question: number[];
  answer: number[];
  /** Of the answer's positions. */
  carries: boolean[] | null;
  unhalted: number;
}

interface Tried {
  length: number;
  sequence: number;
  character: number;
  steps: Steps | null;
}

/** How many symbols and whole sequences are right, and how many steps were taken. Sequences begin at position 0. */
async function tryOut(model: tfl.LayersModel, name: ModelName, groups: readonly Group[], signals: Tensor2D): Promise<Tried[]> {
  const results: Tried[] = [];
  for (const { length, pairs } of groups) {
    const batch = batchOf(pairs, name, signals, pairs.map(() => 0));
    const first = pairs[0].question.length;
    const right = tfc.tidy(() => {
      const scores = model.predictOnBatch(batch.xs) as Tensor;
      const answers = tfc.slice(tfc.argMax(scores, -1), [0, first], [-1, -1]);
      return tfc.equal(answers, tfc.slice(tfc.squeeze(batch.ys, [-1]), [0, first], [-1, -1]));
    });
    const rows = (await right.array()) as number[][];
    right.dispose();
    disposeBatch(batch);
    results.push({
      length,
      sequence: mean(rows.map((row) => Number(row.every((each) => each === 1)))),
      character: mean(rows.flat()),
      steps: name === 'adaptive' ? await stepsNow(model, pairs) : null,
    });
  }
  return results;
}

async function stepsNow(model: tfl.LayersModel, pairs: readonly Pair[]): Promise<Steps> {
  const { updates, unhalted } = await haltingLayer(model).report();
  const first = pairs[0].question.length;
  const carries = pairs[0].carries === null ? null : pairs.flatMap((pair) => pair.carries!);
  return { question: updates.flatMap((row) => row.slice(0, first)), answer: updates.flatMap((row) => row.slice(first)), carries, unhalted };
}

function ponderOver(set: Ponder['set'], all: readonly Steps[]): Ponder {
  const answer = all.flatMap((steps) => steps.answer);
  const carries = all.flatMap((steps) => steps.carries ?? []);
  const where = (carry: boolean) => mean(answer.filter((_, i) => carries[i] === carry));
  return {
    set,
    question: mean(all.flatMap((steps) => steps.question)),
    answer: mean(answer),
    carry: carries.length === 0 ? null : { with: where(true), without: where(false) },
    unhalted: mean(all.map(({ unhalted }) => unhalted)),
  };
}
