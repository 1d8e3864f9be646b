import * as tf from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import { loadGraphModel } from '@tensorflow/tfjs-converter';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { run } from '../../src/cli/main.js';
import { writeStockModel } from '../../src/cli/write_model.js';
import { compressed, compressModel, decodeModelArtifacts } from '../../src/index.js';
import { relativeError } from '../helpers.js';

/** A network of Keras, frozen and optimised by TensorFlow 2.21 (Grappler), with TensorFlow's own outputs: made by fixtures/graph_model.py. */
const fixture = JSON.parse(readFileSync(new URL('../fixtures/graph_model.json', import.meta.url), 'utf8')) as {
  artifacts: io.ModelArtifacts;
  weightSpecs: io.WeightsManifestEntry[];
  weightData: string;
  input: number[];
  output: number[];
};
const weightData = new Uint8Array(Buffer.from(fixture.weightData, 'base64')).buffer;
const artifacts: io.ModelArtifacts = { ...fixture.artifacts, weightSpecs: fixture.weightSpecs, weightData };

let directory = '';
let before = '';
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

/** What a graph gives for the fixture's samples. */
async function outputs(handler: io.IOHandler | io.IOHandlerSync): Promise<Float32Array> {
  const model = await loadGraphModel(handler as io.IOHandler);
  const x = tf.tensor4d(fixture.input, [8, 12, 12, 1]);
  const y = model.predict(x) as tf.Tensor;
  const values = (await y.data()) as Float32Array;
  tf.dispose([x, y]);
  model.dispose();
  return values;
}

/** A directory as the host's loader reads it over HTTP. */
function fromDirectory(path: string): io.IOHandlerSync | io.IOHandler {
  const json = JSON.parse(readFileSync(join(path, 'model.json'), 'utf8')) as io.ModelJSON;
  const { weightsManifest, ...rest } = json;
  const bytes = Buffer.concat(weightsManifest[0].paths.map((shard) => readFileSync(join(path, shard))));
  return io.fromMemory({ ...rest, weightSpecs: weightsManifest[0].weights, weightData: new Uint8Array(bytes).buffer } as io.ModelArtifacts);
}

beforeAll(async () => {
  before = tf.getBackend();
  await tf.setBackend('cpu');
  directory = await mkdtemp(join(tmpdir(), 'tfws-graph-'));
  let start = 0;
  const tensors = fixture.weightSpecs.map(({ shape }) => new Uint8Array(weightData.slice(start, (start += 4 * shape.reduce((a, b) => a * b, 1)))));
  await writeStockModel(at('model'), { ...fixture.artifacts, weightSpecs: fixture.weightSpecs }, (i) => tensors[i]);
  writeFileSync(at('x.json'), JSON.stringify(Array.from({ length: 8 }, (_, s) => Array.from({ length: 12 }, (_, r) => Array.from({ length: 12 }, (_, c) => [fixture.input[144 * s + 12 * r + c]])))));
});
afterAll(async () => {
  await tf.setBackend(before);
  await rm(directory, { recursive: true, force: true });
});

describe('a graph model of TensorFlow', () => {
  it('gives TensorFlow\'s outputs, and nearly so once compressed, as a file and as a stock model', async () => {
    expect(relativeError(await outputs(fromDirectory(at('model'))), fixture.output)).toBeLessThan(1e-4);
    const untouched = await Promise.all((await readdir(at('model'))).map((name) => readFileSync(join(at('model'), name), 'hex')));
    expect((await tfws('compress', at('model'), at('small.tfws'), '--max-error', '0.02', '--quiet')).code).toBe(0);
    expect((await tfws('compress', at('model'), at('stock'), '--stock', '--max-error', '0.02', '--quiet')).code).toBe(0);
    for (const handler of [fromDirectory(at('stock')), io.fromMemory(decodeModelArtifacts(readFileSync(at('small.tfws'))))]) {
      const error = relativeError(await outputs(handler), fixture.output);
      expect(error).toBeGreaterThan(1e-6);
      expect(error).toBeLessThan(0.05);
    }
    expect(await Promise.all((await readdir(at('model'))).map((name) => readFileSync(join(at('model'), name), 'hex')))).toEqual(untouched);
  });

  it('keeps integers, topology and signature as they are; only float matrices get codebooks', async () => {
    const { artifacts: small, report, file } = await compressModel(artifacts, { bits: 3 });
    expect(small.modelTopology).toEqual(artifacts.modelTopology);
    expect(small.signature).toEqual(artifacts.signature);
    expect(decodeModelArtifacts(file!).signature).toEqual(artifacts.signature);
    for (const [i, { dtype, shape }] of fixture.weightSpecs.entries()) {
      const { treatment, reason } = report.weights[i];
      if (dtype === 'int32') expect([treatment, reason]).toEqual(['kept', 'int32 weights are passed through']);
      else expect(treatment).toBe(shape.length > 1 ? 'codebook' : 'rounded');
    }
    expect(report.ratio).toBeGreaterThan(3);
  });

  it('is loaded by loadGraphModel through compressed()', async () => {
    const { file } = await compressModel(artifacts, { maxError: 0.01 });
    writeFileSync(at('loaded.tfws'), file!);
    expect(relativeError(await outputs(compressed(at('loaded.tfws'))), fixture.output)).toBeLessThan(0.05);
    const renamed = { ...artifacts, weightSpecs: fixture.weightSpecs.map((spec, i) => (i === 0 ? { ...spec, name: 'nobody/kernel' } : spec)) };
    writeFileSync(at('wrong.tfws'), (await compressModel(renamed, { bits: 4 })).file!);
    await expect(outputs(compressed(at('wrong.tfws')))).rejects.toThrow("no layer owns the weight 'nobody/kernel'");
  });

  it('is verified on given and random inputs: exit code 1 where outputs differ too much, 0 where they are equal', async () => {
    await tfws('compress', at('model'), at('fine.tfws'), '--max-error', '0.01', '--quiet');
    await tfws('compress', at('model'), at('coarse'), '--stock', '--bits', '1', '--quiet');
    for (const inputs of [['--inputs', at('x.json')], ['--samples', '4']]) {
      const fine = await tfws('verify', at('model'), at('fine.tfws'), '--backend', 'cpu', '--tolerance', '0.05', '--json', ...inputs);
      const { outputs: found, holds } = JSON.parse(fine.out) as { holds: boolean; outputs: { name: string; values: number; relativeError: number; agreement: number }[] };
      expect([fine.code, holds]).toEqual([0, true]);
      expect(found[0].values).toBe(5 * (inputs[0] === '--inputs' ? 8 : 4));
      expect(found[0].relativeError).toBeGreaterThan(1e-6);
      expect((await tfws('verify', at('model'), at('coarse'), '--backend', 'cpu', '--tolerance', '0.01', '--quiet', ...inputs)).code).toBe(1);
    }
    expect((await tfws('decompress', at('fine.tfws'), at('plain'), '--quiet')).code).toBe(0);
    expect((await tfws('verify', at('fine.tfws'), at('plain'), '--backend', 'cpu', '--tolerance', '0', '--quiet')).code).toBe(0);
    expect((await tfws('inspect', at('model'))).out).toMatch(/graph-model, [\d,]+ parameters in 13 weights[^]*DepthwiseConv2dNative/);
  });

  it('cannot be retrained or measured, which is said', async () => {
    expect((await tfws('compress', at('model'), at('no.tfws'), '--data', at('x.json'), at('x.json'), '--backend', 'cpu')).err).toMatch(/graph models cannot be retrained here/);
    expect((await tfws('compress', at('model'), at('no.tfws'), '--inputs', at('x.json'), '--backend', 'cpu')).err).toMatch(/outputs of graph models are not measured/);
  });
});
