/** One network with one seed: train, keep the epoch that predicts held-out text best, test once, and measure what a step of it takes. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { memoryByDepth, residualsOf, stepOf } from '../common/deq_measure.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { windowsOf, type TextData } from '../common/text.js';
import { perplexity, setWeights, toTensors, trainText, type WindowTensors } from '../common/text_model.js';
import { deqMonitor, implicit, sparseCrossEntropy, unrolled } from './library.js';
import { compile, languageModel, type LanguageModel } from './model.js';
import type { Run, SolveRecord } from './record.js';
import type { Settings, VariantName } from './settings.js';

export interface Job {
  data: TextData;
  settings: Settings;
  watch: InterruptWatch;
}

export async function runVariant({ data, settings, watch }: Job, variant: VariantName, seed: number): Promise<Run> {
  const { model: sizes, training, stability, figures } = settings;
  const { batchSize } = training;
  const cut = (ids: Int32Array) => windowsOf(ids, sizes.length, 1);
  const net = languageModel(data.vocabulary.length, settings, variant, seed);
  const { model, deqs } = net;
  compile(model, training);
  const [validation, test] = [toTensors(cut(data.validation)), toTensors(cut(data.test))];
  const solves: SolveRecord[] = [];
  const unrolledEpochs = variant === 'equilibrium' ? stability.unrolledEpochs : 0;
  const begun = performance.now();
  try {
    const { epochs, best } = await trainText({
      model, windows: cut(data.train), validation, settings: training, label: `${variant}, seed ${seed}`, seed, watch,
      ...(training.rows > 0 && { rowsPerEpoch: training.rows }),
      callbacksOf: (epoch) => (variant === 'equilibrium' ? equilibriumCallbacks(net, settings, epoch, solves) : []),
      // What is kept has been judged as the equilibrium that it is.
      onEpoch: async ({ epoch }) => epoch <= unrolledEpochs + 1,
    }); // prettier-ignore
    const seconds = (performance.now() - begun) / 1000;
    setWeights(model, best);
    const kept = { validation: await perplexity(model, validation, batchSize), test: await perplexity(model, test, batchSize) };
    const batch = firstRows(validation, batchSize);
    const step = () => oneStep(model, batch);
    const measured = {
      ...(await stepOf(step)),
      residuals: variant === 'equilibrium' ? await residualsOf(deqs[0], () => tfc.dispose(model.predictOnBatch(batch.xs)), figures.iterations) : [],
      memory: variant === 'standard' ? [] : await memoryByDepth(deqs[0], step, figures.depths),
    };
    tfc.dispose([batch.xs, batch.ys]);
    return { seed, variant, parameters: model.countParams(), epochs, solves, perplexity: kept, seconds, ...measured };
  } finally {
    tfc.dispose([validation.xs, validation.ys, test.xs, test.ys]);
    const { optimizer } = model;
    model.dispose();
    optimizer.dispose();
  }
}

/** A few epochs as the weight-tied network, then as the equilibrium with its penalty; what its solves did goes into `solves`. */
function equilibriumCallbacks({ deqs: [deq] }: LanguageModel, { model, stability }: Settings, epoch: number, solves: SolveRecord[]): (tfl.Callback | tfl.CustomCallback)[] {
  if (epoch <= stability.unrolledEpochs) {
    deq.configure({ gradient: unrolled({ steps: model.depth }), jacobianPenalty: null });
    return [];
  }
  deq.configure({ gradient: implicit(), jacobianPenalty: stability.jacobianPenalty });
  const collector = new tfl.CustomCallback({
    onEpochEnd: async (_epoch, logs) => {
      const of = (what: string) => (logs as Record<string, number>)[`${deq.name}_${what}`];
      solves.push({ epoch, iterations: of('iterations'), backwardIterations: of('backwardIterations'), residual: of('residual'), unconverged: of('unconverged') });
    },
  });
  // The monitor first: it writes into the logs that the other reads.
  return [deqMonitor(), collector];
}

function firstRows({ xs, ys }: WindowTensors, rows: number): WindowTensors {
  const count = Math.min(rows, xs.shape[0]);
  return { xs: tfc.slice(xs, 0, count), ys: tfc.slice(ys, 0, count) };
}

/** Loss, its penalties, and gradients of all weights on one batch, discarded. */
function oneStep(model: tfl.LayersModel, { xs, ys }: WindowTensors): void {
  const crossEntropy = sparseCrossEntropy();
  const { value, grads } = tfc.variableGrads(() => {
    const loss = tfc.mean(crossEntropy(ys, model.apply(xs, { training: true }) as tfc.Tensor));
    return model.calculateLosses().reduce((sum, penalty) => tfc.add(sum, penalty), loss) as tfc.Scalar;
  });
  value.dataSync();
  tfc.dispose(grads);
  value.dispose();
}
