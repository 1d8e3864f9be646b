/**
 * `npm run bench -- growl`: what GrOWL costs beside training. The proximal operator alone against the number of rows; the callback's step
 * an epoch against an epoch of the MNIST network (784-300-10, 60 000 images, batch 128); affinity propagation against the number of rows;
 * and rows tied after every batch against plain training.
 */
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { growl, growlProximal, rowTying, type GrOWL } from 'tfjs-weight-sharing';
import { affinityPropagation, rowSimilarity } from '../src/callbacks/affinity_propagation.js';
import { proxOwl } from '../src/regularizers/growl_prox.js';
import { interleaved, median, significant } from './interleaved.js';
import type { BenchOptions } from './run.js';

export const backends = ['tensorflow', 'wasm'] as const;

const IMAGES = 60_000;
const BATCH = 128;
/** Batches that are timed; an epoch has 469. */
const BATCHES = 24;

function normals(count: number): Float32Array {
  let state = 7;
  const uniform = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) + 0.5) / 4294967296;
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

/** Noisy copies of `clusters` rows. */
function noisyRows(rows: number, width: number, clusters: number): Float32Array {
  const centres = normals(clusters * width);
  const noise = normals(rows * width);
  return noise.map((value, i) => centres[(Math.floor(i / width) % clusters) * width + (i % width)] + 0.3 * value);
}

/** Milliseconds of processor time: these parts are plain JavaScript on one thread, and what else runs on the machine does not count. */
const timed = (work: () => void): number => {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
};

/** Milliseconds of the proximal operator by number of rows. */
function proxTimes(print: BenchOptions['print']): Record<string, number> {
  const result: Record<string, number> = {};
  for (const rows of [784, 10_000, 100_000]) {
    const z = normals(rows);
    const lambda = Float64Array.from({ length: rows }, (_, i) => 0.1 + (rows - i) / rows);
    proxOwl(z, lambda);
    result[rows] = significant(median(Array.from({ length: 5 }, () => timed(() => proxOwl(z, lambda)))));
    print(`proximal operator, ${rows} rows: ${result[rows]} ms`);
  }
  return result;
}

/** Seconds of affinity propagation, similarities included, by number of rows of 300. */
function clusterTimes(print: BenchOptions['print']): { seconds: Record<string, number>; iterations: Record<string, number> } {
  const seconds: Record<string, number> = {};
  const iterations: Record<string, number> = {};
  for (const rows of [250, 500, 1000, 2000]) {
    const matrix = noisyRows(rows, 300, Math.floor(rows / 10));
    let found = { converged: false, iterations: 0, clusters: 0 };
    const time = timed(() => {
      const { converged, iterations: steps, exemplars } = affinityPropagation(rowSimilarity(matrix, rows), rows, { preference: 0.6, improve: true });
      found = { converged, iterations: steps, clusters: exemplars.length };
    });
    seconds[rows] = significant(time / 1000);
    iterations[rows] = found.iterations;
    print(`affinity propagation, ${rows} rows: ${seconds[rows]} s, ${found.iterations} iterations, ${found.clusters} clusters${found.converged ? '' : ', not converged'}`);
  }
  return { seconds, iterations };
}

function network(kernelRegularizer?: GrOWL): tfl.LayersModel {
  const model = tfl.sequential({
    layers: [
      tfl.layers.dense({ units: 300, activation: 'relu', inputShape: [784], name: 'first', kernelInitializer: tfl.initializers.glorotUniform({ seed: 1 }), kernelRegularizer }),
      tfl.layers.batchNormalization(),
      tfl.layers.dense({ units: 10, activation: 'softmax', kernelInitializer: tfl.initializers.glorotUniform({ seed: 2 }) }),
    ],
  });
  model.compile({ optimizer: tf.train.momentum(1e-3, 0.9), loss: 'categoricalCrossentropy' });
  return model;
}

/** Collects the time that a callback's methods take, with all that the backend still has to do for them. */
function watched(callback: tfl.Callback, model: tfl.LayersModel): { callback: tfl.Callback; milliseconds: () => number } {
  let total = 0;
  const settle = async () => void (await model.getWeights()[0].data());
  for (const name of ['onBatchEnd', 'onEpochEnd'] as const) {
    const method = callback[name].bind(callback) as (index: number, logs?: tfl.Logs) => Promise<void>;
    callback[name] = async (index: number, logs?: tfl.Logs) => {
      await settle();
      const start = performance.now();
      await method(index, logs);
      await settle();
      total += performance.now() - start;
    };
  }
  return { callback, milliseconds: () => total };
}

export async function run({ print }: BenchOptions): Promise<Record<string, unknown>> {
  const proxMilliseconds = proxTimes(print);
  const clustering = clusterTimes(print);
  const count = BATCH * BATCHES;
  const x = tf.tensor2d(normals(count * 784), [count, 784]);
  const y = tf.cast(tf.oneHot(tf.tensor1d(Int32Array.from({ length: count }, (_, i) => i % 10), 'int32'), 10), 'float32');
  const fit = (model: tfl.LayersModel, callbacks: tfl.Callback[]) => model.fit(x, y, { epochs: 1, batchSize: BATCH, shuffle: false, verbose: 0, callbacks });

  // One step an epoch, over an epoch of 60 000 images, from a part of one.
  const shares: number[] = [];
  const penalty = () => growl({ lambda1: 1e-3, lambda2: 1e-6 });
  const model = network(penalty());
  await fit(model, []);
  for (let round = 0; round < 5; round++) {
    const { callback, milliseconds } = watched(growlProximal(), model);
    const start = performance.now();
    await fit(model, [callback]);
    const whole = performance.now() - start;
    const epoch = ((whole - milliseconds()) * IMAGES) / count;
    shares.push(milliseconds() / (epoch + milliseconds()));
  }
  const proxShareOfEpoch = significant(median(shares));
  print(`proximal step once an epoch: ${(100 * proxShareOfEpoch).toFixed(2)} % of an epoch (784-300-10, 60 000 images)`);

  const plain = network();
  const tiedModel = network();
  const perBatch = network(penalty());
  // Ties in its first fit, keeps to them in the others.
  const tying = rowTying({ layers: ['first'], cluster: (_, rows) => rows.map((__, i) => i % 40) });
  const rounds = await interleaved(
    {
      plain: async () => void (await fit(plain, [])),
      tied: async () => void (await fit(tiedModel, [tying])),
      perBatch: async () => void (await fit(perBatch, [growlProximal({ every: 'batch', batchesPerEpoch: Math.ceil(IMAGES / BATCH) })])),
    },
    { rounds: 5, warmup: 1 },
  );
  print(`training with rows tied after every batch: ${rounds.ratio('tied', 'plain').toFixed(2)} × plain; with a proximal step after every batch: ${rounds.ratio('perBatch', 'plain').toFixed(2)} ×`);
  return {
    proxShareOfEpoch,
    cluster2000Seconds: clustering.seconds[2000],
    proxMilliseconds,
    clusterSeconds: clustering.seconds,
    clusterIterations: clustering.iterations,
    tiedVsPlain: significant(rounds.ratio('tied', 'plain')),
    proxPerBatchVsPlain: significant(rounds.ratio('perBatch', 'plain')),
  };
}
