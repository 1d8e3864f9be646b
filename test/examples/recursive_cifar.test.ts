import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { parseCifar, readCifar } from '../../examples/common/cifar.js';
import { renderedDigits } from '../../examples/common/digits.js';
import type { LabelledImages } from '../../examples/common/images.js';
import { seededRandom } from '../../examples/common/random.js';
import { pixelsOf, readSets, shuffledBatches, standardOf, type PreparedSet } from '../../examples/recursive-cifar/data.js';
import { randomGroups, sharedWeights } from '../../examples/recursive-cifar/banks.js';
import { runVariant, type Job } from '../../examples/recursive-cifar/job.js';
import { findingOf, parseRecord, plannedOf, RECORD_FORMAT, rowsOf, summarize, type RunRecord } from '../../examples/recursive-cifar/record.js';
import { headline, renderHtml, renderPictures, summaryRows, writeReport } from '../../examples/recursive-cifar/report.js';
import { DRAWN, PARTS, SETTINGS, type Settings } from '../../examples/recursive-cifar/settings.js';
import { labelOf, variantsOf, type Spec } from '../../examples/recursive-cifar/variants.js';

const folder = mkdtempSync(join(tmpdir(), 'recursive-cifar-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Image i has label i, and in plane c the bytes 10 · i + c, but at the first pixel c. */
function cifarBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count * 3073);
  for (let i = 0; i < count; i++) {
    bytes[i * 3073] = i;
    for (let c = 0; c < 3; c++) bytes.fill(10 * i + c, i * 3073 + 1 + c * 1024, i * 3073 + 1 + (c + 1) * 1024).fill(c, i * 3073 + 1 + c * 1024, i * 3073 + 2 + c * 1024);
  }
  return bytes;
}

describe('CIFAR-10', () => {
  it('is read from planes to pixels, whole files or parts, gzipped or not', () => {
    const { images, labels, width, channels } = parseCifar(cifarBytes(3), 'x');
    expect([...labels, width, channels]).toEqual([0, 1, 2, 32, 3]);
    expect(Array.from(images.subarray(3072, 3078))).toEqual([0, 1, 2, 10, 11, 12]);
    writeFileSync(join(folder, 'train_first6.bin.gz'), gzipSync(cifarBytes(6)));
    writeFileSync(join(folder, 'test_batch.bin'), cifarBytes(2));
    const { origin, train, validation, test } = readCifar(folder, 2);
    expect(origin).toBe('CIFAR-10, 6 of 50,000 training images');
    expect([train, validation, test].map((part) => part.labels.length)).toEqual([4, 2, 2]);
    expect([...train.labels, ...validation.labels].sort()).toEqual([0, 1, 2, 3, 4, 5]);
    train.labels.forEach((label, i) => expect(train.images[i * 3072 + 3]).toBe(10 * label));
    const sets = readSets({ cifar: folder, fashion: null }, { ...SETTINGS, data: { train: 3, heldOut: 2, test: 1 } });
    expect([sets.cifar!.train, sets.cifar!.test].map((part) => part.labels.length)).toEqual([3, 1]);
  });

  it('says what is wrong with a file', () => {
    expect(() => parseCifar(new Uint8Array(3074), 'a.bin')).toThrow('a.bin: expected whole records of 3073 bytes, got 3074 bytes.');
    expect(() => parseCifar(new Uint8Array(3073).fill(10, 0, 1), 'a.bin')).toThrow('a.bin: label 10 of image 0');
    expect(() => readCifar('/nowhere', 1)).toThrow('/nowhere: expected CIFAR-10 in its binary layout');
  });
});

describe('batches', () => {
  const data: LabelledImages = { images: Uint8Array.of(1, 10, 2, 20, 3, 30, 4, 40), labels: Uint8Array.of(0), width: 2, height: 2, channels: 2 };

  it('are standardised by channel', () => {
    const standard = standardOf(data);
    expect(standard.mean).toEqual([2.5, 25]);
    expect(standard.deviation[0]).toBeCloseTo(Math.sqrt(1.25), 10);
    const pixels = pixelsOf(data, [0], standard, null);
    for (let channel = 0; channel < 2; channel++) expect([0, 2, 4, 6].reduce((sum, i) => sum + pixels[i + channel] ** 2, 0)).toBeCloseTo(4, 5);
  });

  it('are mirrored and moved, the mean coming in at the sides', () => {
    const plain = { mean: [0, 0], deviation: [1, 1] };
    const draws = (...values: number[]) => ({ ...seededRandom(1), uniform: () => values.shift()!, integer: () => values.shift()! });
    const pixels = (mirrors: boolean, ...values: number[]) => Array.from(pixelsOf(data, [0], plain, { random: draws(...values), mirrors, shift: 1 }));
    expect(pixels(true, 0.4, 1, 1)).toEqual([2, 20, 1, 10, 4, 40, 3, 30]);
    expect(pixels(true, 0.6, 1, 1)).toEqual([1, 10, 2, 20, 3, 30, 4, 40]);
    expect(pixels(false, 2, 1)).toEqual([3, 30, 4, 40, 0, 0, 0, 0]);
    expect(pixels(false, 1, 0)).toEqual([0, 0, 1, 10, 0, 0, 3, 30]);
  });

  it('hold each image once', () => {
    const batches = shuffledBatches(7, 3, seededRandom(1));
    expect(batches.map(({ length }) => length)).toEqual([3, 3, 1]);
    expect(batches.flatMap((batch) => [...batch]).sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
});

const tiny: Settings = {
  ...DRAWN, training: { ...DRAWN.training, batchSize: 4 },
  lru: { epochs: 1, recursions: [1], width: 1 / 8, dropout: 0.1 }, templates: { epochs: 1, templates: [2], widths: [2], layers: 2 },
  banks: { ...DRAWN.banks, epochs: 1, budgets: [2], widths: [4, 8], groups: 2 },
  dynamic: { epochs: 2, depths: [1, 2], costs: [0.1], width: 2 }, eigen: { epochs: 1, maps: [2], layers: [2] },
}; // prettier-ignore
const digits = renderedDigits(8, 4, 4);
const set: PreparedSet = { ...digits, standard: standardOf(digits.train), mirrors: false };
const job: Job = { set, settings: tiny, watch: { check: async () => {}, stop: () => {} }, teachers: new Map() };
const run = (spec: Spec, seed = 1) => runVariant(job, { key: labelOf(spec), set: 'drawn', spec }, seed);

describe('a run', () => {
  it('trains a network of each part, and the same again from the same seed', async () => {
    const eigen = { part: 'eigen', maps: 2, layers: 2, tied: true } as const;
    const first = await run(eigen);
    const before = tf.memory().numTensors;
    expect((await run(eigen)).epochs).toEqual(first.epochs);
    expect(tf.memory().numTensors).toBe(before);
    expect((await run(eigen, 2)).epochs).not.toEqual(first.epochs);
    // 8×8 on grey to 2 maps, one kernel 3×3, and 4×4×2 to 10.
    expect(first.parameters).toBe(2 * 65 + 38 + 330);
    expect((await run({ ...eigen, tied: false })).parameters).toBe(first.parameters + 38);
    expect(first.loops).toBeNull();
    for (const spec of [{ part: 'lru', recursions: 1 }, { part: 'templates', templates: 2 }, { part: 'templates', templates: null }] as const) {
      const { epochs, heldOut, test, similarities } = await run(spec);
      // One stage with a bank for the two convolutions of a block.
      expect(similarities?.map(({ layers, matrix }) => [layers.length, matrix.length])).toEqual(spec.part === 'templates' && spec.templates === 2 ? [[2, 2]] : undefined);
      expect(epochs).toHaveLength(1);
      expect(Number.isFinite(epochs[0].loss) && heldOut === epochs[0].heldOut && test >= 0 && test <= 100).toBe(true);
    }
  });

  it('counts the loops of gates', async () => {
    const { loops, epochs } = await run({ part: 'dynamic', recursions: 2, cost: 0.1 });
    expect(epochs).toHaveLength(2);
    for (const mean of [loops!.heldOut, loops!.test]) expect(mean >= 1 && mean <= 2).toBe(true);
    expect((await run({ part: 'dynamic', recursions: 2, cost: null })).loops).toBeNull();
  });
});

describe('banks', () => {
  // Convolutions 2 → 4 → 4 → 8 → 8 of which those behind the first can share.
  const shared = 9 * (2 * 4 + 4 * 4 + 4 * 8 + 8 * 8);
  // The first convolution, normalisation, the classes.
  const others = 9 * 2 + 2 * (2 + 4 + 4 + 8 + 8) + 8 * 10 + 10;

  it('stand in for kernels at the budget, in groups too, and learn from the network without them', async () => {
    expect(sharedWeights(tiny.banks)).toBe(shared);
    const half = { budget: 2, combination: 'average', grouping: 'one' } as const;
    // The teacher is trained where there is none yet, and kept.
    const distilled = await run({ part: 'banks', bank: half, distilled: true });
    expect(job.teachers.size).toBe(1);
    const before = tf.memory().numTensors;
    const plain = await run({ part: 'banks', bank: half, distilled: false });
    expect(tf.memory().numTensors).toBe(before);
    expect([distilled, plain].map(({ parameters }) => parameters)).toEqual([shared / 2 + others, shared / 2 + others]);
    expect(distilled.epochs[0].loss).not.toBe(plain.epochs[0].loss);
    const own = await run({ part: 'banks', bank: null, distilled: false });
    expect(own.parameters).toBe(shared + others);
    const grouped = { ...half, grouping: 'learned', combination: 'learnedWeights' } as const;
    expect((await run({ part: 'banks', bank: grouped, distilled: false })).parameters).toBe(shared / 2 + 4 * 2 + others);
    const embedded = { ...half, grouping: 'random', combination: 'layerEmbedding' } as const;
    // A map from embeddings in each of two banks.
    expect((await run({ part: 'banks', bank: embedded, distilled: false })).parameters).toBe(shared / 2 + 2 * 25 * 2 + 4 * 24 + others);
    job.teachers.forEach((teacher) => teacher.dispose());
  });

  it('are grouped at random as evenly as can be', () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const groups = randomGroups(names, 2, seededRandom(1));
    expect(groups.map(({ length }) => length)).toEqual([3, 2]);
    expect(groups.flat().sort()).toEqual(names);
  });

  it('are varied in one thing at a time, or in all', () => {
    const count = (product: boolean) => variantsOf({ ...SETTINGS, banks: { ...SETTINGS.banks, product } }, ['banks'], ['cifar']).length;
    expect([count(false), count(true)]).toEqual([1 + 3 * 6, 1 + 3 * 18]);
  });
});

/** Errors that follow rules, so that the findings are known. */
function errorOf(spec: Spec): number {
  switch (spec.part) {
    case 'lru':
      return 40 - Math.log2(spec.recursions);
    case 'templates':
      return spec.templates === null ? 30 : 32 - spec.templates / 2;
    case 'dynamic':
      return spec.cost === null ? 40 - 2 * Math.min(spec.recursions, 4) : 32 + 10 * Math.max(0, spec.cost - 0.1);
    case 'banks':
      return spec.bank === null ? 30 : 31 + Math.log2(spec.bank.budget) + { learnedWeights: 0, average: 2, softmaxWeights: 0, layerEmbedding: 0.5 }[spec.bank.combination] - (spec.bank.grouping === 'learned' ? 0.25 : 0) - (spec.distilled ? 1 : 0);
    case 'eigen':
      return 50 - 2 * Math.log2(spec.layers) - (spec.tied ? 0 : 3);
  }
}

function syntheticRecord(seeds = [1, 2]): RunRecord {
  const settings = SETTINGS;
  const runs = seeds.flatMap((seed) => variantsOf(settings, PARTS, ['cifar']).map(({ key, spec }) => {
    const [test, gates] = [errorOf(spec) + 0.1 * (seed - 1), spec.part === 'dynamic' ? spec.cost : null];
    const parameters = spec.part === 'eigen' ? 10 * spec.maps * (spec.tied ? 1 : 2) : 1000;
    const loops = gates === null ? null : { heldOut: 5 - 10 * gates, test: 5 - 10 * gates };
    const similarities = [{ bank: 'stage <1>', layers: ['a', 'b'], coefficients: [[1, 0], [0.6, 0.8]], matrix: [[1, 0.6], [0.6, 1]] }];
    return { ...(spec.part === 'templates' && spec.templates === 2 && { similarities }), seed, variant: key, parameters, epochs: [{ loss: 1, heldOut: test }], heldOut: test, test, loops, seconds: 2 };
  })); // prettier-ignore
  const set = { origin: 'CIFAR-10 <part>', train: 10, heldOut: 5, test: 1000 };
  return { format: RECORD_FORMAT, parts: [...PARTS], sets: { cifar: set }, directories: { cifar: '/x', fashion: null }, backend: 'made up', settings, seeds, runs };
}

describe('the record', () => {
  it('plans each network once, with settings of every part', () => {
    const keys = plannedOf(syntheticRecord()).map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys).toContain('cifar: K = 2');
    expect(keys.filter((key) => key.includes('maps'))).toHaveLength(21);
  });

  it('finds what the rules say, and chooses by held-out images', () => {
    const { findings, seeds, seconds } = summarize(syntheticRecord());
    expect(findings.cifar!.lru).toEqual({ first: 40.05, last: 36.24, chosen: 36.24, gain: 3.81, gainOfChosen: 3.81 });
    expect(findings.cifar!.templates).toEqual({ unshared: 30.05, lost1: 1.5, lost2: 1, lost4: 0 });
    // The gates with cost 0.1 are as good as 4 loops, with fewer loops than those with 0.03.
    expect(findings.cifar!.dynamic).toEqual({ fixedLoops: 4, fixed: 32.05, gatedLoops: 4, gated: 32.05, lost: 0 });
    const { own, lost2, lost8, ...changes } = findings.cifar!.banks!;
    expect({ own, lost2, lost8 }).toEqual({ own: 30.05, lost2: 1, lost8: 3 });
    expect(changes).toMatchObject({ average: 2, layerEmbedding: 0.5, randomGroups: 0, learnedGroups: -0.25, distilled: -1 });
    expect(findings.cifar!.eigen).toEqual({ layers: -2, layersError: 0, parameters: -3, parametersError: 0, maps: 3, mapsError: 0 });
    const eigen = rowsOf(syntheticRecord(), 'eigen', 'cifar');
    // A residual in one network of 21.
    const { layers, layersError, mapsError } = findingOf(eigen.map((row, i) => (i === 5 ? { ...row, test: row.test + 2 } : row)), 'eigen');
    expect([Math.abs(layers! + 2) < 2 * layersError!, layersError! > 0.05 && layersError! < 0.5, mapsError! > layersError!]).toEqual([true, true, true]);
    const tied = eigen.filter(({ spec }) => spec.part === 'eigen' && spec.tied);
    expect(findingOf(tied, 'eigen')).toEqual({ layers: null, layersError: null, parameters: null, parametersError: null, maps: null, mapsError: null });
    expect([seeds, seconds]).toEqual([2, 2 * syntheticRecord().runs.length]);
    const [fixed] = rowsOf(syntheticRecord(), 'dynamic', 'cifar');
    expect(findingOf([fixed], 'dynamic')).toMatchObject({ gated: null, lost: null });
  });

  it('is rendered from itself alone, finished or not', () => {
    const record = parseRecord(JSON.stringify(syntheticRecord()), 'record.json');
    const html = renderHtml(record);
    expect(html).toContain('CIFAR-10 &lt;part&gt;: LruNet, N = 1 errs on 40.05 % of the test images, LruNet, N = 14 on 36.24 %');
    expect(html).toContain('<td>LruNet, N = 14</td><td>1,000</td><td></td><td>36.24</td><td>36.24 (36.19 – 36.29)</td><td>2</td>');
    expect(html.match(/K = 2: which layers became alike/g)).toHaveLength(1);
    expect(html).toContain('<title>a, b: 0.6000</title>');
    expect(html).not.toMatch(/NaN|undefined/);
    for (const text of ['64 maps', 'gates up to 6, cost 0.1', 'loops on average', 'learned weights, learned groups', 'own kernels']) expect(renderPictures(record)).toContain(text);
    expect(summaryRows(record)).toHaveLength(PARTS.length);
    expect(readFileSync(writeReport(record, folder).png).subarray(1, 4).toString()).toBe('PNG');
    const begun = { ...record, runs: record.runs.filter(({ variant }) => variant.includes('K =')) };
    expect(headline(begun)).toContain('1 template: 31.55 %');
    expect(() => headline({ ...record, runs: [] })).toThrow('holds no trained network yet');
  });

  it('says what another file should be', () => {
    expect(() => parseRecord('{"format":"other"}', 'a.json')).toThrow(`a.json: expected a record with format '${RECORD_FORMAT}', got 'other'.`);
  });
});
