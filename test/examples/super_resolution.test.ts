import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { cropped, greyPng, luma, type Luminance } from '../../examples/common/luminance.js';
import { seededRandom } from '../../examples/common/random.js';
import { cutTo, generatedImages, pairsOf, randomBatch, readImages, scaleWeights } from '../../examples/recursive-super-resolution/data.js';
import { runVariant } from '../../examples/recursive-super-resolution/job.js';
import { psnr, qualityOf, ssim } from '../../examples/recursive-super-resolution/quality.js';
import { parsedRecord } from '../../examples/common/variant_runs.js';
import { RECORD_FORMAT, summarize, type RunRecord, type VariantRecord } from '../../examples/recursive-super-resolution/record.js';
import { renderHtml, renderPictures } from '../../examples/recursive-super-resolution/report.js';
import { degraded, resized } from '../../examples/recursive-super-resolution/resize.js';
import { GENERATED, SCALES, SETTINGS, VARIANTS, type Settings } from '../../examples/recursive-super-resolution/settings.js';

const line = (...values: number[]): Luminance => ({ width: values.length, height: 1, values: Float32Array.from(values) });
const rounded = (values: Iterable<number>) => Array.from(values, (value) => Math.round(value * 1e8) / 1e8 + 0);

describe('resizing as MATLAB’s imresize', () => {
  it('has its antialiased taps at ½', () => {
    const impulse = new Float32Array(16);
    impulse[8] = 1;
    const { values } = resized({ width: 16, height: 1, values: impulse }, 8, 1);
    expect(rounded(values)).toEqual([0, 0, -0.01171875, 0.11328125, 0.43359375, -0.03515625, 0, 0]);
  });

  it('has its taps at 2', () => {
    const impulse = new Float32Array(8);
    impulse[4] = 1;
    const { values } = resized({ width: 8, height: 1, values: impulse }, 16, 1);
    expect(rounded(values.subarray(5, 13))).toEqual([-0.0234375, -0.0703125, 0.2265625, 0.8671875, 0.8671875, 0.2265625, -0.0703125, -0.0234375]);
  });

  it('mirrors the ends and keeps what is constant, across and down', () => {
    expect(rounded(resized(line(7, 7, 7, 7, 7, 7), 3, 1).values)).toEqual([7, 7, 7]);
    // By hand, with the taps above over …3 2 1 | 1 2 3 4 | 4 3…
    const [first] = resized(line(1, 2, 3, 4), 2, 1).values;
    expect(first).toBeCloseTo(2 * (0.43359375 * 1.5) + 0.11328125 * (1 + 3) - 0.03515625 * (2 + 4) - 0.01171875 * (3 + 4), 5);
    const column = { width: 1, height: 4, values: Float32Array.of(1, 2, 3, 4) };
    expect(resized(column, 1, 2).values[0]).toBeCloseTo(first, 6);
  });

  it.skipIf(process.env.TFWS_SR === undefined)('reproduces the published PSNR and SSIM of bicubic interpolation on Set5', () => {
    const { test } = readImages(process.env.TFWS_SR!, 1);
    const published = { 2: [33.66, 0.9299], 3: [30.39, 0.8682], 4: [28.42, 0.8104] };
    for (const scale of SCALES) {
      const qualities = test.map(({ image }) => qualityOf(degraded(cutTo(image, scale), scale), cutTo(image, scale), scale));
      const mean = (key: 'psnr' | 'ssim') => qualities.reduce((total, each) => total + each[key], 0) / qualities.length;
      expect(mean('psnr')).toBeCloseTo(published[scale][0], 2);
      expect(mean('ssim')).toBeCloseTo(published[scale][1], 4);
    }
  });
});

describe('luminance and quality', () => {
  it('is BT.601 in 16 … 235', () => {
    expect([luma(0, 0, 0), luma(255, 255, 255), luma(255, 0, 0), luma(0, 255, 0), luma(0, 0, 255)]).toEqual([16, 235, 81, 145, 41]);
  });

  it('measures PSNR and SSIM', () => {
    const flat = (value: number): Luminance => ({ width: 16, height: 16, values: new Float32Array(256).fill(value) });
    expect(psnr(flat(10), flat(11))).toBeCloseTo(20 * Math.log10(255), 6);
    const [c1, x, y] = [(0.01 * 255) ** 2, 100, 120];
    expect(ssim(flat(x), flat(y))).toBeCloseTo((2 * x * y + c1) / (x * x + y * y + c1), 8);
    const [scene] = generatedImages(2).train;
    expect(ssim(scene, scene)).toBeCloseTo(1, 10);
    expect(() => ssim(cropped(scene, 0, 0, 8, 8), cropped(scene, 0, 0, 8, 8))).toThrow('ssim: images must be at least 11 × 11, got 8 × 8.');
    // What lies in the border does not count.
    const marred = { ...scene, values: Float32Array.from(scene.values, (value, i) => (i < scene.width ? 0 : value)) };
    expect(qualityOf(marred, scene, 1).psnr).toBe(Infinity);
  });
});

describe('patches', () => {
  it('come from the same place of both images', () => {
    const sharp = generatedImages(2).train.map(cut);
    const same = sharp.map((image) => ({ sharp: image, blurred: new Map(SCALES.map((scale) => [scale, image])) }));
    const { inputs, targets, weights } = randomBatch(same, new Map([[2, 2], [3, 2], [4, 2]]), 6, 20, seededRandom(1)); // prettier-ignore
    expect(Array.from(weights)).toEqual(Array(6).fill(2));
    expect(inputs).toEqual(targets);
    expect(inputs.length).toBe(6 * 400);
    expect(() => randomBatch(same, new Map(), 1, 200, seededRandom(1))).toThrow('no training image is as large as the patches, 200 × 200.');
    expect(pairsOf(sharp[0]).blurred.get(3)!.width).toBe(sharp[0].width);
  });

  it('count more where interpolation is better', () => {
    const pairs = generatedImages(2).train.slice(0, 2).map(pairsOf);
    const weights = scaleWeights(pairs);
    expect([...weights.values()].reduce((total, each) => total + each)).toBeCloseTo(3, 6);
    expect(weights.get(2)!).toBeGreaterThan(weights.get(3)!);
    expect(weights.get(3)!).toBeGreaterThan(weights.get(4)!);
  });
});
const cut = (image: Luminance) => cutTo(image, 12);

describe('a run', () => {
  const tiny: Settings = {
    model: { filters: 2, units: 2, recursions: 2, memoryBlocks: 2, memoryRecursions: 1, denseBlocks: 2, denseLayers: 1, denseFilters: 2 },
    training: { ...GENERATED.training, minutes: 0.005, batchSize: 2, patch: 12, looks: 1, learningRate: 1e-3 },
    data: { heldOut: 1 },
  };
  const all = generatedImages(1);
  const small = (image: Luminance) => cropped(image, 0, 0, 36, 36);
  const data = { ...all, train: all.train.slice(0, 2).map(small), heldOut: all.heldOut.map(small), test: all.test.slice(0, 1).map(({ name, image }) => ({ name, image: small(image) })) };

  it('trains, chooses and tests a network, and leaves no tensor behind', async () => {
    const job = { data, settings: tiny, watch: { check: async () => {}, stop: () => {} } };
    // These initial weights are far from interpolation, so that whatever steps a machine makes of the budget lead towards it.
    const untrained = await runVariant({ ...job, settings: { ...tiny, training: { ...tiny.training, minutes: 0 } } }, 'drrn', 1);
    expect(untrained.steps).toBe(0);
    expect(untrained.looks).toEqual([]);
    const before = tf.memory().numTensors;
    const run = await runVariant(job, 'drrn', 1);
    expect(tf.memory().numTensors).toBe(before);
    expect(run.steps).toBeGreaterThan(0);
    expect(run.looks).toHaveLength(1);
    expect(run.scales.map(({ scale }) => scale)).toEqual([2, 3, 4]);
    run.scales.forEach(({ network, bicubic }, i) => {
      expect(bicubic).toEqual(untrained.scales[i].bicubic);
      expect(network.psnr).toBeGreaterThan(untrained.scales[i].network.psnr + 0.1);
    });
  });
});

function syntheticRecord(): RunRecord {
  const png = Buffer.from(greyPng({ width: 2, height: 2, values: Float32Array.of(0, 50, 100, 255) })).toString('base64');
  const runs = VARIANTS.map((variant, v): VariantRecord => ({
    seed: 1, variant, parameters: variant === 'untied' ? 1000 : 90 + v, steps: 10,
    looks: [{ share: 0.5, steps: 5, psnr: 30 }, { share: 1, steps: 10, psnr: 31 + v / 10 }],
    scales: SCALES.map((scale) => {
      const [network, bicubic] = [{ psnr: 36.5 - scale - v / 10, ssim: 0.95 }, { psnr: 32 - scale, ssim: 0.9 }];
      return { scale, network, bicubic, images: [{ name: 'one', network, bicubic }] };
    }),
    picture: { name: 'one', scale: 3, sharp: png, bicubic: png, network: png }, processorSeconds: 60, seconds: 30,
  })); // prettier-ignore
  return { format: RECORD_FORMAT, data: { origin: 'made', train: 2, heldOut: 1, test: 1 }, directory: null, backend: 'cpu', settings: SETTINGS, seeds: [1], runs };
}

describe('the record', () => {
  it('is summarised', () => {
    const summary = summarize(syntheticRecord());
    expect(summary.bicubic).toEqual({ x2: 30, x3: 29, x4: 28 });
    expect(summary.networks.drrn.psnr['x2']).toBe(34.4);
    expect(summary.untiedLessDrrn).toBe(0.1);
    expect(summary.parameterShare).toBe(0.091);
    expect(summary.allBeatBicubicBy2dB).toBe(true);
  });

  it('is rendered from itself alone, pictures included', () => {
    const record = parsedRecord<RunRecord>('recursive-super-resolution', RECORD_FORMAT, JSON.stringify(syntheticRecord()), 'record.json');
    const html = renderHtml(record);
    expect(html).toContain('×2: bicubic 30.00 dB, DRRN 34.40 with 9.1 % of the parameters of its untied twin, 34.50');
    expect(html.match(/data:image\/png;base64/g)).toHaveLength(7);
    expect(renderPictures(record)).toContain('untied DRRN');
  });

  it('says what another file should be', () => {
    expect(() => parsedRecord<RunRecord>('recursive-super-resolution', RECORD_FORMAT, '{', 'a.json')).toThrow('a.json: not JSON');
    expect(() => parsedRecord<RunRecord>('recursive-super-resolution', RECORD_FORMAT, '{"format":"other"}', 'a.json')).toThrow(`a.json: expected a record with format '${RECORD_FORMAT}', got 'other'.`);
    expect(() => readImages('/nowhere', 1)).toThrow('/nowhere: expected a folder sr-t91 or T91 or t91 of PNG images in it.');
  });
});
