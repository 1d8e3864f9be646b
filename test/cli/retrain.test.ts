import * as tf from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readArray } from '../../src/cli/arrays.js';
import { startBackend } from '../../src/cli/backend.js';
import { run } from '../../src/cli/main.js';
import { writeStockModel } from '../../src/cli/write_model.js';
import { decodeModelArtifacts } from '../../src/index.js';
import { seededNormal } from '../helpers.js';
import { stockKernels } from '../stock_kernels.js';

const SAMPLES = 160;
let directory = '';
let before = '';
let restoreKernels = (): void => {};
const at = (name: string): string => join(directory, name);

async function tfws(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const printed = { out: '', err: '' };
  const catchInto = (key: 'out' | 'err') => ((text: string) => ((printed[key] += text), true)) as never;
  const spies = [vi.spyOn(process.stdout, 'write').mockImplementation(catchInto('out')), vi.spyOn(process.stderr, 'write').mockImplementation(catchInto('err'))];
  try {
    return { code: await run(args, '1.2.3', () => import('../../src/index.js')), ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** As numpy.save writes it. */
function npy(descr: string, shape: number[], bytes: Uint8Array): Buffer {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const header = `${text.padEnd(Math.ceil((10 + text.length + 1) / 64) * 64 - 11)}\n`;
  return Buffer.concat([Buffer.from([0x93]), Buffer.from('NUMPY\x01\x00'), Buffer.from(Uint16Array.of(header.length).buffer), Buffer.from(header, 'latin1'), bytes]);
}

function idx(shape: number[], bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(4 + 4 * shape.length);
  head[2] = 8;
  head[3] = shape.length;
  shape.forEach((n, i) => head.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([head, bytes]);
}

/** Trains on samples of 2 × 3 pixels (bytes) in three classes, or on a column of a table, and writes everything that the command reads. */
beforeAll(async () => {
  before = tf.getBackend();
  restoreKernels = stockKernels();
  await tf.setBackend('cpu');
  directory = await mkdtemp(join(tmpdir(), 'tfws-retrain-'));
  const normal = seededNormal(1);
  const labels = Uint8Array.from({ length: SAMPLES }, (_, i) => i % 3);
  const pixels = Uint8Array.from({ length: SAMPLES * 6 }, (_, i) => Math.min(255, Math.max(0, Math.round(60 + 70 * normal() + (i % 3 === labels[Math.floor(i / 6)] ? 120 : 0)))));
  writeFileSync(at('images.gz'), gzipSync(idx([SAMPLES, 2, 3], pixels)));
  writeFileSync(at('labels'), idx([SAMPLES], labels));
  writeFileSync(at('x.npy'), npy('<f4', [SAMPLES, 6], new Uint8Array(Float32Array.from(pixels, (p) => p / 255).buffer)));
  writeFileSync(at('y.npy'), npy('|u1', [SAMPLES], labels));
  const rows = Array.from({ length: SAMPLES }, () => [normal(), normal(), normal()]);
  const price = rows.map(([a, b, c]) => a - 0.5 * b + 0.1 * c);
  writeFileSync(at('table.csv'), `\ufeffa,price,"b, squared",c\r\n${rows.map(([a, b, c], i) => `${a}, ${price[i]},"${b}",${c}`).join('\r\n')}\r\n`);

  await train('classes', [6, 12, 3], 'softmax', tf.tensor2d(Float32Array.from(pixels, (p) => p / 255), [SAMPLES, 6]), tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d([...labels], 'int32'), 3), 'float32')));
  await train('price', [3, 12, 1], 'linear', tf.tensor2d(rows), tf.tensor2d(price, [SAMPLES, 1]));
});
afterAll(async () => {
  restoreKernels();
  await tf.setBackend(before);
  await rm(directory, { recursive: true, force: true });
});

async function train(name: string, [inputs, hidden, outputs]: number[], activation: 'softmax' | 'linear', x: tf.Tensor, y: tf.Tensor): Promise<void> {
  const model = tfl.sequential({
    layers: [
      tfl.layers.dense({ units: hidden, inputShape: [inputs], activation: 'tanh', kernelInitializer: tfl.initializers.glorotNormal({ seed: 1 }) }),
      tfl.layers.dense({ units: outputs, activation, kernelInitializer: tfl.initializers.glorotNormal({ seed: 2 }) }),
    ],
  });
  model.compile({ optimizer: tf.train.adam(0.02), loss: activation === 'softmax' ? 'categoricalCrossentropy' : 'meanSquaredError' });
  await model.fit(x, y, { epochs: 20, shuffle: false, verbose: 0 });
  await model.save(
    io.withSaveHandler(async ({ weightData, ...artifacts }) => {
      const sizes = artifacts.weightSpecs!.map(({ shape }) => 4 * shape.reduce((a, b) => a * b, 1));
      await writeStockModel(at(name), artifacts, (i) => new Uint8Array(weightData as ArrayBuffer, sizes.slice(0, i).reduce((a, b) => a + b, 0), sizes[i]));
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
    }),
  );
  model.dispose();
  tf.dispose([x, y]);
}

interface Report {
  ratio: number;
  weights: { values: number }[];
  retraining: { method: string; monitor: string; before: number; quantized: number; after: number; fineTuneEpochs: number };
}

describe('compress --data', () => {
  it('fine-tunes codebooks on IDX files, gzipped ones too, images for a flat input, and class numbers', async () => {
    const args = ['--bits', '1', '--data', at('images.gz'), at('labels'), '--divide', '255', '--epochs', '20', '--learning-rate', '0.01', '--patience', '20', '--batch-size', '16', '--backend', 'cpu', '--json'];
    const { code, out, err } = await tfws('compress', at('classes'), at('a.tfws'), ...args);
    expect(err).toBe('');
    expect(code).toBe(0);
    const { retraining, weights } = JSON.parse(out) as Report;
    expect(retraining).toMatchObject({ method: 'clusters', monitor: 'acc' });
    expect(retraining.before).toBeGreaterThan(0.7);
    expect(retraining.after).toBeGreaterThanOrEqual(retraining.quantized);
    const byLoss = (JSON.parse((await tfws('compress', at('classes'), at('b.tfws'), ...args, '--metric', 'loss', '--validation', at('images.gz'), at('labels'))).out) as Report).retraining;
    expect(byLoss.monitor).toBe('loss');
    expect(byLoss.quantized).toBeGreaterThan(byLoss.before);
    expect(byLoss.after).toBeLessThan(0.97 * byLoss.quantized);
    expect(weights.map(({ values }) => values)).toEqual([2, 0, 2, 0]);
    const loaded = await tfl.loadLayersModel(io.fromMemory(decodeModelArtifacts(readFileSync(at('a.tfws')))));
    expect(loaded.countParams()).toBe(6 * 12 + 12 + 12 * 3 + 3);
    loaded.dispose();
  });

  it('retrains by soft weight sharing on .npy files, and writes a stock model', async () => {
    const { code, out } = await tfws('compress', at('classes'), at('stock'), '--stock', '--data', at('x.npy'), at('y.npy'), '--validation', at('x.npy'), at('y.npy'), '--epochs', '6', '--tau', '0.001', '--metric', 'loss', '--backend', 'cpu', '--quiet');
    expect([code, out]).toEqual([0, '']);
    const json = JSON.parse(readFileSync(join(at('stock'), 'model.json'), 'utf8')) as io.ModelJSON;
    expect(json.weightsManifest[0].weights[0].quantization?.dtype).toMatch(/uint/);
  });

  it('takes a table with names, the target among its columns, straight through', async () => {
    const { code, out, err } = await tfws('compress', at('price'), at('p.tfws'), '--ratio', '1.5', '--data', at('table.csv'), '--target', 'price', '--loss', 'meanSquaredError', '--straight-through', '--aggregation', 'average', '--epochs', '3', '--batch-size', '32', '--backend', 'cpu');
    // So small a network loses by it, and is told so.
    expect(err).toMatch(/^warning: loss on held-out data went from [\d.]+ to [\d.]+\. Give more bits, a smaller ratio, or more epochs of fine-tuning\.\n$/);
    expect(code).toBe(0);
    expect(out).toMatch(/Backend: cpu\nloss on held-out data: [\d.]+ before, [\d.]+ quantised, [\d.]+ after 3 epochs of fine-tuning/);
    const table = await readArray(at('table.csv'));
    expect(table.columns).toEqual(['a', 'price', 'b, squared', 'c']);
    expect(table.shape).toEqual([SAMPLES, 4]);
  });

  it('says what does not fit, before it writes', async () => {
    const fails = async (...args: string[]): Promise<string> => {
      const { code, err } = await tfws('compress', args[0], at('never.tfws'), '--backend', 'cpu', '--quiet', ...args.slice(1));
      expect(code).toBe(2);
      expect(existsSync(at('never.tfws'))).toBe(false);
      return err;
    };
    const [model, x, y] = [at('classes'), at('x.npy'), at('y.npy')];
    writeFileSync(at('few.npy'), npy('|u1', [2], Uint8Array.of(0, 1)));
    writeFileSync(at('from-one.npy'), npy('|u1', [SAMPLES], Uint8Array.from({ length: SAMPLES }, (_, i) => 1 + (i % 3))));
    writeFileSync(at('gap.csv'), 'a,b\n1,2\n3,\n');
    writeFileSync(at('first-gap.csv'), '1,,3\n1,2,3\n');
    writeFileSync(at('ragged.csv'), '1,2\n3\n');
    writeFileSync(at('short-idx'), idx([9], new Uint8Array(4)));
    expect(await fails(model, '--data', x)).toMatch(/the model has 1 inputs and 1 outputs, so 2 files are needed \(inputs first\), or one table with --target; got 1/);
    expect(await fails(model, '--data', x, at('few.npy'))).toMatch(/x\.npy' holds 160 samples, '.*few\.npy' 2\./);
    expect(await fails(model, '--data', y, y)).toMatch(/samples have the shape \[\?\], the input '.*' takes \[\?, 6\]/);
    expect(await fails(model, '--data', x, x)).toMatch(/targets have the shape \[\?, 6\], the output '.*' has \[\?, 3\]\. Class numbers from 0 are taken too/);
    expect(await fails(model, '--data', x, at('from-one.npy'))).toMatch(/the output '.*' has \[\?, 3\]\. One number a sample is taken as its class, from 0 to 2, and there is a 3\./);
    expect(await fails(model, '--data', x, y, '--hold-out', '0.001')).toMatch(/of 160 samples none would be left to train on, or to hold out \(--hold-out 0\.001\)/);
    expect(await fails(model, '--data', x, y, '--ratio', '4', '--retrain', 'softSharing')).toMatch(/ratio has no say in retraining by soft weight sharing/);
    expect(await fails(model, '--data', x, y, '--measure')).toMatch(/with --data outputs are measured on its inputs/);
    expect(await fails(model, '--epochs', '4')).toMatch(/--epochs has a say only in retraining\. Give --data/);
    expect(await fails(model, '--hold-out', '0.3')).toMatch(/--hold-out has a say only in retraining/);
    expect(await fails(model, '--data', x, y, '--bits', '2', '--tau', '0.1')).toMatch(/--tau has a say in soft weight sharing only/);
    expect(await fails(model, '--straight-through')).toMatch(/--straight-through has a say only in retraining/);
    expect(await fails(at('price'), '--data', at('table.csv'), '--target', 'cost', '--bits', '2')).toMatch(/has no column 'cost'\. It has a, price, b, squared, c/);
    expect(await fails(at('price'), '--data', at('table.csv'), '--target', 'price', '--bits', '2')).toMatch(/the loss is not known: .* Give --loss/);
    expect(await fails(at('price'), '--data', at('first-gap.csv'), '--target', '2')).toMatch(/row 1, column 2 is '', no number/);
    expect(await fails(at('price'), '--data', at('gap.csv'), '--target', 'b')).toMatch(/row 2 below the names, column b is '', no number/);
    expect(await fails(at('price'), '--data', at('ragged.csv'), '--target', '1')).toMatch(/is not a table of commas: /);
    expect(await fails(model, '--data', at('short-idx'), y)).toMatch(/should hold 9 bytes of numbers, but has 4/);
    expect(await fails(model, '--data', x, y, '--bits', '2', '--metric', 'nonsense')).toMatch(/nonsense/);
  });

  it('says which backend to install where none is', async () => {
    const nothing = async (name: string): Promise<never> => {
      throw new Error(`Cannot find package '${name}'`);
    };
    await expect(startBackend(undefined, nothing)).rejects.toThrow(/no backend could be loaded\. Install one: npm install @tensorflow\/tfjs-node \(fastest\), or @tensorflow\/tfjs-backend-wasm\. Tried: .*Cannot find package '@tensorflow\/tfjs-node'/);
    await expect(startBackend('wasm', nothing)).rejects.toThrow(/no backend 'wasm' could be loaded\. Install one: npm install @tensorflow\/tfjs-backend-wasm\./);
    expect((await tfws('compress', at('classes'), at('never.tfws'), '--data', at('x.npy'), at('y.npy'), '--backend', 'webgpu')).err).toMatch(/Allowed choices are tensorflow, wasm, cpu/);
  });
});
