/** A record such as a run would leave, made up from formulas: for the tests of the report. */
import { RECORD_FORMAT, histogram, summarize, type RunRecord, type SeedRecord } from '../../examples/common/compression/record.js';
import { MNIST_SETTINGS } from '../../examples/compress-mnist/settings.js';
import { seededRandom } from '../../examples/common/random.js';

export function syntheticSeed(seed: number): SeedRecord {
  const random = seededRandom(seed);
  const finalMeans = [0, -0.9, -0.55, -0.3, -0.18, 0.17, 0.28, 0.5, 0.8];
  const finalDeviations = [0.004, 0.03, 0.02, 0.015, 0.012, 0.012, 0.015, 0.02, 0.03];
  const finalMixing = [0.95, 0.001, 0.004, 0.01, 0.012, 0.011, 0.008, 0.0035, 0.0005];
  const mixtureAt = (share: number) => ({
    means: finalMeans.map((m, j) => (j === 0 ? 0 : (1 - share) * (-1 + (2 * (j - 0.5)) / 8) + share * m)),
    variances: finalDeviations.map((s) => Math.exp(2 * ((1 - share) * Math.log(0.25) + share * Math.log(s)))),
    mixing: finalMixing,
  });
  const counts = finalMixing.map((p) => Math.round(p * 266200));
  const before = Array.from({ length: 30000 }, () => 0.05 * random.normal() + (random.uniform() < 0.05 ? 0.2 * random.normal() : 0));
  const retrained = counts.flatMap((n, j) => Array.from({ length: Math.ceil(n / 8) }, () => finalMeans[j] + finalDeviations[j] * random.normal()));
  return {
    seed,
    parameters: 266610,
    baseline: Array.from({ length: 15 }, (_, i) => ({ epoch: i + 1, loss: 0.3 / (i + 1), validationError: 1.9 + 4 / (i + 1) ** 1.5 })),
    retraining: Array.from({ length: 60 }, (_, i) => ({
      epoch: i + 1,
      loss: 0.5 - 0.005 * i,
      validationError: 1.9 + 0.3 * Math.exp(-i / 10) + 0.1 * random.uniform(),
      gmmEnergy: 0.4 - 0.008 * i,
      components: i < 40 ? 17 : 9,
      ratioEstimate: 5 + 90 / (1 + Math.exp(-(i - 30) / 8)),
      mixture: mixtureAt(1 - Math.exp(-i / 12)),
      histogram: histogram(before.map((w) => w * Math.exp(-i / 12)), -1.2, 1.2, 240),
    })),
    histograms: { before: histogram(before, -1.2, 1.2, 600), retrained: histogram(retrained, -1.2, 1.2, 600) },
    quantizedValues: finalMeans.map((value, j) => ({ value, count: counts[j] })),
    mixture: mixtureAt(1),
    merges: [{ kept: [3], absorbed: [4, 7], divergence: 0.21 }],
    errors: { baseline: { validation: 1.9, test: 1.85 + seed / 100 }, retrained: { validation: 1.92 }, quantized: { validation: 1.95, test: 1.9 + seed / 100 } },
    components: { before: 17, after: 9 },
    relativeDistance: 0.12,
    nonZeroPercent: 5,
    tensors: [
      { name: 'dense_1/kernel', parameters: 235200, distinctValues: 9, bytes: 6900 },
      { name: 'dense_1/bias', parameters: 300, distinctValues: 300, bytes: 1100 },
      { name: 'dense_2/kernel', parameters: 30000, distinctValues: 9, bytes: 1400 },
      { name: 'dense_2/bias', parameters: 100, distinctValues: 100, bytes: 380 },
      { name: 'dense_3/kernel', parameters: 1000, distinctValues: 8, bytes: 210 },
      { name: 'dense_3/bias', parameters: 10, distinctValues: 10, bytes: 40 },
    ],
    otherBytes: 190,
    fileBytes: 10220 + seed,
    ratio: (4 * 266610) / (10220 + seed),
    comparison: [
      { method: 'pruning + k-means', chosen: '95 % pruned, 8 values', validationError: 2, testError: 2.01, fileBytes: 14000, ratio: 76.2 },
      { method: 'k-means', chosen: '8 values', validationError: 1.95, testError: 1.93, fileBytes: 90000, ratio: 11.8 },
      { method: 'affine uint8', chosen: '256 values', validationError: 1.9, testError: 1.86, fileBytes: 200000, ratio: 5.3 },
    ],
    seconds: 200 + seed,
  };
}

export function syntheticRecord(seeds = 1): RunRecord {
  const records = Array.from({ length: seeds }, (_, i) => syntheticSeed(i + 1));
  return {
    format: RECORD_FORMAT,
    example: 'compress-mnist',
    network: 'LeNet-300-100',
    data: { origin: 'made up for a test <&>', train: 55000, validation: 5000, test: 10000 },
    backend: 'cpu',
    settings: MNIST_SETTINGS,
    seeds: records,
    summary: summarize(records),
  };
}
