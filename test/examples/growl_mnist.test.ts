import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { tyingCallbacks, wardLabels } from '../../examples/growl-mnist/clustering.js';
import { adjustedRandIndex, correlatedProblem, type CorrelatedResult } from '../../examples/growl-mnist/correlated.js';
import { newNetwork, NETWORKS, PENALISED } from '../../examples/growl-mnist/networks.js';
import { paretoVariants } from '../../examples/growl-mnist/pareto.js';
import { isOf, readRecord, RECORD_FORMAT, summarize, writeRecord, type NetworkResult, type RunRecord } from '../../examples/growl-mnist/record.js';
import { headline, renderHtml, renderPictures, summaryText, writeReport } from '../../examples/growl-mnist/report.js';
import { similarityByCluster, sortedNorms } from '../../examples/growl-mnist/rows.js';
import { METHODS, MNIST_SETTINGS, type Method } from '../../examples/growl-mnist/settings.js';

/** Made up. Errors by method and seed. */
function syntheticRecord(): RunRecord {
  const errors: Record<Method, number> = { plain: 1.8, weightDecay: 1.7, groupLasso: 2.2, growl: 2, growlL2: 1.9 };
  const networks = METHODS.flatMap((method) =>
    [1, 2, 3].map((seed): NetworkResult => {
      const distinct = method === 'plain' ? 784 : 32;
      const labels = Array.from({ length: 784 }, (_, i) => (i % 3 === 0 ? i % 32 : -1));
      const layer = { layer: 'dense_1', rows: 784, live: 262, distinct, norms: labels.map((_, i) => 1 - i / 784), labels, similarity: [[1, 0.5], [0.5, 1]] }; // prettier-ignore
      return { network: 'mlp', method, seed, parameters: 1000, validationErrors: [3, 2], testError: errors[method] + 0.1 * seed, layers: [layer], sparsity: 0.66, paperRatio: 784 / distinct, fileBytes: 100 * seed, ratio: 40 / seed, seconds: 5 };
    }),
  );
  const correlated = (['groupLasso', 'growl'] as const).map((method): CorrelatedResult => ({
    method, seed: 1, trials: [{ penalty: { lambda1: 1 }, validationLoss: 1, adjustedRandIndex: 0.5, chosen: true }], chosen: { lambda1: 1 }, validationLoss: 1, testLoss: 1.1,
    adjustedRandIndex: method === 'growl' ? 1 : 0.5, copiesAlive: 1, noiseAlive: 0, pairsTied: 1, pairsRight: 1, labels: [0, 0, 1, 1, -1], truth: [0, 0, 1, 1, -1], similarity: [[1]],
  })); // prettier-ignore
  const pareto = paretoVariants(MNIST_SETTINGS.pareto, 1).map((variant, i) => ({ ...variant, validationError: 2, testError: 2 + 0.1 * i, fileBytes: 1000 - 10 * i, ratio: 20 + i, seconds: 1 }));
  return { format: RECORD_FORMAT, data: { origin: 'MNIST', train: 55000, validation: 5000, test: 10000 }, backend: 'made up', settings: MNIST_SETTINGS, networks, correlated, pareto };
}

describe("Ward's clusters", () => {
  const at = (...points: number[][]) => points.map((point) => Float32Array.from(point));

  it('merge what adds least to the squares about the means, down to the number that is asked for', () => {
    const points = at([0, 0], [5, 5], [0.1, 0], [5, 5.2], [9, 0]);
    expect(Array.from(wardLabels(points, 5))).toEqual([0, 1, 2, 3, 4]);
    expect(adjustedRandIndex(Array.from(wardLabels(points, 3)), [0, 1, 0, 1, 2])).toBe(1);
    const chain = at([0], [1], [2], [3.1], [4.1], [5.1], [6.5]);
    expect(adjustedRandIndex(Array.from(wardLabels(chain, 2)), [0, 0, 0, 1, 1, 1, 1])).toBe(1);
  });

  it('are made of each layer by its own number, which must be given', () => {
    expect(tyingCallbacks(['a', 'b'], { wardClusters: { a: 2, b: 3 } })).toHaveLength(2);
    expect(tyingCallbacks(['a', 'b'], { preference: 0.5 })).toHaveLength(1);
    expect(() => tyingCallbacks(['a', 'b'], { wardClusters: { a: 2 } })).toThrow("wardClusters: no number of clusters for layer 'b'. Give it in the settings.");
  });
});

describe('correlated inputs', () => {
  it('are scored by the adjusted Rand index: 1 for equal partitions however numbered, 0 where all or nothing is one group, less for chance', () => {
    expect(adjustedRandIndex([0, 0, 1, 1], [5, 5, 2, 2])).toBe(1);
    expect(adjustedRandIndex([0, 0, 0, 0], [0, 0, 1, 1])).toBe(0);
    // The example of scikit-learn's documentation.
    expect(adjustedRandIndex([0, 0, 1, 2], [0, 0, 1, 1])).toBeCloseTo(0.5714, 4);
    expect(adjustedRandIndex([0, 0, 1, 1], [0, 1, 0, 1])).toBeCloseTo(-0.5, 10);
  });

  it('copy each factor with noise, and know which', () => {
    const { train, test, truth } = correlatedProblem({ ...MNIST_SETTINGS.correlated, factors: 2, copies: 2, noiseColumns: 1, noise: 0.1, samples: 400 }, 3);
    expect(truth).toEqual([0, 0, 1, 1, -1]);
    expect([train.xs.shape, train.ys.shape]).toEqual([[400, 5], [400, 4]]); // prettier-ignore
    const columns = tf.transpose(test.xs).arraySync() as number[][];
    const correlation = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0) / 400;
    expect(correlation(columns[0], columns[1])).toBeGreaterThan(0.85);
    for (const [a, b] of [[0, 2], [1, 4]]) expect(Math.abs(correlation(columns[a], columns[b]))).toBeLessThan(0.2); // prettier-ignore
  });
});

describe('what the report shows of rows', () => {
  it('is their norms, falling, and their similarities with the largest cluster first', () => {
    const kernel = tf.tensor2d([3, 4, 0, 0, 0, 5, 6, 8], [4, 2]);
    expect(sortedNorms(kernel)).toEqual([10, 5, 5, 0]);
    // Rows 0 and 3 are one cluster: (3, 4) and its double are half alike.
    expect(similarityByCluster(kernel, [1, -1, 0, 1])).toEqual([[1, 0.5, 0.8], [0.5, 1, 0.4], [0.8, 0.4, 1]]); // prettier-ignore
  });

  it('takes input channels of convolutions as rows', () => {
    const kernel = tf.tensor4d([1, 2, 2, 4], [1, 2, 2, 1]);
    expect(sortedNorms(kernel)).toEqual([4.47, 2.24]);
  });
});

describe('the networks', () => {
  it('have the layers that are penalised, and the sizes of the paper', () => {
    for (const name of NETWORKS) {
      const model = newNetwork(name, 28, 1);
      for (const layer of PENALISED[name]) expect(model.getLayer(layer).getWeights()[0].rank).toBeGreaterThan(1);
      if (name !== 'vgg') expect(model.getLayer('dense_1').getWeights()[0].shape).toEqual([784, 300]);
    }
  });
});

describe('the record of growl-mnist', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tfws-growl-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('is summarised by medians over seeds and by the increase against the same seed', () => {
    const { networks, correlated } = summarize(syntheticRecord());
    expect(networks.mlp?.growlL2).toEqual({ testError: 2.1, errorIncrease: 0.1, sparsity: 0.66, distinctRows: 32, paperRatio: 24.5, fileBytes: 200, ratio: 20 });
    expect(correlated).toEqual({ groupLasso: { adjustedRandIndex: 0.5 }, growl: { adjustedRandIndex: 1 } });
  });

  it('comes back from its file, knows what it holds, and others are refused by name', () => {
    const path = join(directory, 'record.json');
    const record = syntheticRecord();
    writeRecord(record, path);
    expect(readRecord(path)).toEqual(record);
    expect(isOf(record.networks[0], { network: 'mlp', method: 'plain', seed: 1 })).toBe(true);
    expect(isOf(record.networks[0], { network: 'mlp', method: 'plain', seed: 2 })).toBe(false);
    expect(() => readRecord(join(directory, 'other.json'))).toThrow('there is no such record. Give the record.json of a run');
  });

  it('is drawn as a page and a picture with every method in it', () => {
    const record = syntheticRecord();
    const files = writeReport(record, directory);
    const html = readFileSync(files.html, 'utf8');
    for (const text of ['GrOWL + L2', 'group lasso', 'weight decay', 'mixture prior', 'adjusted Rand index', '1/24.5']) expect(html).toContain(text);
    expect(html).not.toMatch(/NaN|undefined/);
    expect(renderHtml(record)).toBe(html);
    expect(renderPictures(record)).not.toMatch(/NaN|undefined/);
    expect(Array.from(readFileSync(files.png).subarray(1, 4))).toEqual([...'PNG'].map((c) => c.charCodeAt(0)));
    expect(headline(record)).toBe('784-300-10: 1/24.5 of the weights distinct, 1/20.0 of the bytes; test error 2.00 % → 2.10 %');
    expect(summaryText(record)).toContain('+0.10');
  });

  it('is drawn from a run that did a part only', () => {
    const record = { ...syntheticRecord(), networks: [], pareto: [] };
    expect(renderPictures(record)).not.toMatch(/NaN|undefined/);
    expect(renderHtml(record)).toContain('Correlated inputs');
  });
});
