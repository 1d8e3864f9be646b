import * as tf from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { run } from '../../src/cli/main.js';
import { compareOutputs } from '../../src/cli/run_model.js';
import { writeStockModel } from '../../src/cli/write_model.js';
import { decodeModelArtifacts } from '../../src/index.js';
import { bundleForNode } from '../compression/fuzz/run_fuzz.js';
import { seededNormal } from '../helpers.js';

let directory = '';
let model = '';
const at = (...parts: string[]): string => join(directory, ...parts);

/** Runs the command in this process; returns exit code and what it printed. */
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

/** A dense network as the host saves it, in `name`. */
async function writeModel(name: string, change: (json: { modelTopology: unknown; weightsManifest: io.WeightsManifestConfig }) => void = () => undefined): Promise<string> {
  const kernel = Float32Array.from({ length: 30 * 40 }, seededNormal(1));
  const last = Float32Array.from({ length: 40 * 5 }, seededNormal(2));
  const layer = (layerName: string, units: number, extra = {}): object => ({ class_name: 'Dense', config: { name: layerName, units, activation: 'tanh', use_bias: true, ...extra } });
  const tensors = [kernel, new Float32Array(40).fill(0.125), last, Float32Array.from({ length: 5 }, seededNormal(3))];
  const artifacts = {
    format: 'layers-model', generatedBy: 'a test', convertedBy: null,
    modelTopology: { class_name: 'Sequential', config: { name: 'sequential_1', layers: [layer('a', 40, { batch_input_shape: [null, 30] }), layer('b', 5)] } },
    weightSpecs: ['a/kernel', 'a/bias', 'b/kernel', 'b/bias'].map((weight, i) => ({ name: weight, shape: [[30, 40], [40], [40, 5], [5]][i], dtype: 'float32' as const })),
  }; // prettier-ignore
  await writeStockModel(at(name), artifacts, (i) => new Uint8Array(tensors[i].buffer));
  const file = at(name, 'model.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as Parameters<typeof change>[0];
  change(json);
  writeFileSync(file, JSON.stringify(json));
  return at(name);
}

/** Everything in a directory, to see that it has not changed. */
async function contents(path: string): Promise<Record<string, string>> {
  const names = (await readdir(path)).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(path, name), 'hex')]));
}

let before = '';
beforeAll(async () => {
  before = tf.getBackend();
  directory = await mkdtemp(join(tmpdir(), 'tfws-cli-'));
  model = await writeModel('model');
});
afterAll(async () => {
  await tf.setBackend(before);
  await rm(directory, { recursive: true, force: true });
});

describe('compress', () => {
  it('writes a file that the host loads, leaves the input as it was, and says what it did', async () => {
    const untouched = await contents(model);
    const { code, out } = await tfws('compress', model, at('ours.tfws'), '--ratio', '6');
    expect(code).toBe(0);
    expect(out).toMatch(/a\/kernel +30×40 +codebook/);
    expect(out).toMatch(/ratio 6\.\d\d to float32 weights/);
    const artifacts = decodeModelArtifacts(readFileSync(at('ours.tfws')));
    const loaded = await tfl.loadLayersModel(io.fromMemory(artifacts));
    expect(loaded.countParams()).toBe(1445);
    loaded.dispose();
    expect(await contents(model)).toEqual(untouched);
  });

  it('prints one JSON object with --json, nothing with --quiet, and writes nothing with --dry-run', async () => {
    const { out } = await tfws('compress', join(model, 'model.json'), at('dry'), '--bits', '2', '--json', '--dry-run');
    const report = JSON.parse(out) as { ratio: number; output: string | null; weights: { name: string; values: number }[]; bytes: number };
    expect(report.output).toBeNull();
    expect(report.weights.map(({ values }) => values)).toEqual([4, 0, 4, 0]);
    expect(report.ratio).toBeCloseTo((4 * 1445) / report.bytes, 10);
    expect(existsSync(at('dry'))).toBe(false);
    expect(await tfws('compress', model, at('quiet.tfws'), '--quiet')).toEqual({ code: 0, out: '', err: '' });
    expect(existsSync(at('quiet.tfws'))).toBe(true);
  });

  it('writes a stock model in shards, and reports as HTML and JSON', async () => {
    const { code } = await tfws('compress', model, at('stock'), '--stock', '--bits', '3', '--report', at('report.html'), '--skip', 'b');
    expect(code).toBe(0);
    expect((await readdir(at('stock'))).sort()).toEqual(['group1-shard1.bin', 'model.json']);
    const json = JSON.parse(readFileSync(at('stock', 'model.json'), 'utf8')) as io.ModelJSON;
    expect(json.weightsManifest[0].weights.map(({ quantization }) => quantization?.dtype)).toEqual(['uint8', 'float16', undefined, undefined]);
    const html = readFileSync(at('report.html'), 'utf8');
    expect(html.match(/<svg /g)!.length).toBe(3);
    expect(html).not.toMatch(/https?:\/\/|<script/);
    expect((await tfws('compress', model, at('again.tfws'), '--report', at('report.json'))).code).toBe(0);
    expect((JSON.parse(readFileSync(at('report.json'), 'utf8')) as { parameters: number }).parameters).toBe(1445);
  });

  it('measures what errors count on random or given inputs', async () => {
    writeFileSync(at('x.json'), JSON.stringify(Array.from({ length: 4 }, () => Array.from({ length: 30 }, seededNormal(4)))));
    for (const how of [['--measure'], ['--inputs', at('x.json')]]) {
      const { code, out, err } = await tfws('compress', model, at('measured'), '--ratio', '5', '--dry-run', '--json', '--backend', 'cpu', ...how);
      expect(err).toBe('');
      expect(code).toBe(0);
      const { sensitivity, weights } = JSON.parse(out) as { sensitivity: string; weights: { sensitivity: number }[] };
      expect(sensitivity).toBe('outputs');
      expect(weights[0].sensitivity).toBeGreaterThan(0);
      expect(weights[2].sensitivity).toBeGreaterThan(0);
      expect(weights[2].sensitivity).not.toBeCloseTo(weights[0].sensitivity, 4);
      expect(weights[1].sensitivity).toBeNull();
    }
    const wrong = await tfws('compress', model, at('measured'), '--inputs', at('x.json'), at('x.json'), '--backend', 'cpu');
    expect(wrong).toMatchObject({ code: 2, err: expect.stringMatching(/the model has 1 inputs \(.* \[\?, 30\]\), but 2 were given/) as string });
  });

  it('takes a model by URL, with the query for its shards too', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url!);
      const file = join(model, new URL(request.url!, 'http://x').pathname);
      if (request.url!.includes('cut')) response.writeHead(200, { 'content-length': 1000 }).write('{"modelTopology"', () => response.destroy());
      else if (!existsSync(file) || request.url!.includes('gone')) response.writeHead(404).end();
      else response.end(readFileSync(file));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect((await tfws('compress', `${base}/model.json?key=1`, at('fetched.tfws'), '--quiet')).code).toBe(0);
    expect((await tfws('compress', model, at('local.tfws'), '--quiet')).code).toBe(0);
    expect(readFileSync(at('fetched.tfws'))).toEqual(readFileSync(at('local.tfws')));
    expect(asked).toEqual(['/model.json?key=1', '/group1-shard1.bin?key=1']);
    expect(await tfws('inspect', `${base}/gone/model.json`)).toMatchObject({ code: 2, err: `error: '${base}/gone/model.json' cannot be fetched: HTTP 404.\n` });
    // A connection that breaks off in the middle.
    expect(await tfws('compress', `${base}/cut/model.json`, at('cut.tfws'))).toMatchObject({ code: 2, err: expect.stringMatching(/cut\/model\.json' cannot be fetched: .+\.\n$/) as string });
    expect(existsSync(at('cut.tfws'))).toBe(false);
    await new Promise((resolve) => server.close(resolve));
    expect((await tfws('inspect', `${base}/model.json`)).err).toMatch(/cannot be fetched: /);
  });
});

describe('the other commands', () => {
  it('inspect shows weights and layers', async () => {
    const { out } = await tfws('inspect', model);
    expect(out).toMatch(/layers-model, 1,445 parameters in 4 weights/);
    expect(out).toContain('Layers: 2 Dense');
    expect(out).toMatch(/a\/bias +40 +float32 +160 B +1 +0 % +0\.125 +0\.125/);
    const { weights } = JSON.parse((await tfws('inspect', model, '--json')).out) as { weights: { distinct: number }[] };
    expect(weights.map(({ distinct }) => distinct)).toEqual([1200, 1, 200, 5]);
  });

  it('decompress gives a plain model with the same values back', async () => {
    await tfws('compress', model, at('small.tfws'), '--bits', '3', '--quiet');
    await tfws('compress', model, at('small-stock'), '--bits', '3', '--stock', '--quiet');
    for (const small of ['small.tfws', 'small-stock']) {
      expect((await tfws('decompress', at(small), at(`plain-${small}`))).code).toBe(0);
      const { specs, data } = await plain(at(`plain-${small}`));
      expect(specs.every(({ quantization }) => quantization === undefined)).toBe(true);
      expect(new Set(new Float32Array(data.slice(0, 4800))).size).toBe(8);
      expect(await tfws('verify', at(small), at(`plain-${small}`), '--backend', 'cpu', '--tolerance', '0', '--quiet')).toMatchObject({ code: 0 });
    }
  });

  it('verify takes what is not finite for equal only beside the same', () => {
    const of = (...values: number[]) => Float32Array.from(values);
    const deviation = (a: Float32Array, b: Float32Array) => compareOutputs('y', a, b, 1);
    expect(deviation(of(NaN, 2, Infinity), of(NaN, 2, Infinity))).toMatchObject({ relativeError: 0, maxDeviation: 0 });
    expect(deviation(of(NaN, 2), of(NaN, 1))).toMatchObject({ relativeError: 0.5, maxDeviation: 1 });
    for (const [a, b] of [[NaN, 2], [2, NaN], [Infinity, 2], [2, -Infinity]]) expect(deviation(of(1, a), of(1, b))).toMatchObject({ relativeError: Infinity, maxDeviation: Infinity });
    expect(deviation(of(0), of(1)).relativeError).toBe(Infinity);
  });

  it('verify gives deviations, and exit code 1 where they exceed the tolerance', async () => {
    await tfws('compress', model, at('coarse.tfws'), '--bits', '2', '--quiet');
    const { code, out } = await tfws('verify', model, at('coarse.tfws'), '--backend', 'cpu', '--json', '--tolerance', '0.9');
    const { outputs, holds } = JSON.parse(out) as { holds: boolean; outputs: { relativeError: number; maxDeviation: number; meanDeviation: number; values: number; agreement: number }[] };
    expect([code, holds]).toEqual([0, true]);
    expect(outputs[0].values).toBe(160);
    expect(outputs[0].relativeError).toBeGreaterThan(0.01);
    expect(outputs[0].maxDeviation).toBeGreaterThan(outputs[0].meanDeviation);
    const worse = await tfws('verify', model, at('coarse.tfws'), '--backend', 'cpu', '--tolerance', '0.001');
    expect(worse.code).toBe(1);
    expect(worse.out).toContain('exceeds the tolerance 0.001');
    expect(await tfws('verify', model, model, '--backend', 'cpu')).toMatchObject({ code: 0, out: expect.stringContaining('100.0 %') as string });
  });

  it('report accounts for the bytes, as a table, JSON and HTML', async () => {
    const { out } = await tfws('report', model, '--html', at('sizes.html'));
    expect(out).toMatch(/1,445 parameters in .* as a \.tfws file/);
    expect(readFileSync(at('sizes.html'), 'utf8')).toContain('<svg');
    const { fileBytes, weights } = JSON.parse((await tfws('report', model, '--json')).out) as { fileBytes: number; weights: { name: string; encoding: string }[] };
    expect(weights[1]).toMatchObject({ name: 'a/bias', encoding: 'constant' });
    expect(fileBytes).toBeLessThan(4 * 1445);
  });

  it('helps, with examples, and refuses what it does not know', async () => {
    expect((await tfws('--version')).out).toBe('1.2.3\n');
    for (const command of ['compress', 'inspect', 'decompress', 'verify', 'report']) {
      const { code, out } = await tfws(command, '--help');
      expect(code).toBe(0);
      expect(out).toContain(`Examples:\n  $ tfjs-weight-sharing ${command}`);
    }
    expect(await tfws('compress', model, at('x'), '--ratoi', '4')).toMatchObject({ code: 2, err: expect.stringContaining("unknown option '--ratoi'") as string });
    expect(await tfws('compress', model, at('x'), '--bits', 'many')).toMatchObject({ code: 2, err: expect.stringContaining('A number is expected') as string });
    expect(await tfws('compress', model, at('x'), '--bits', '4', '--ratio', '4')).toMatchObject({ code: 2, err: expect.stringContaining('bits cannot be given together with ratio') as string });
  });
});

async function plain(path: string): Promise<{ specs: io.WeightsManifestEntry[]; data: ArrayBuffer }> {
  const json = JSON.parse(readFileSync(join(path, 'model.json'), 'utf8')) as io.ModelJSON;
  const data = Buffer.concat(json.weightsManifest[0].paths.map((shard) => readFileSync(join(path, shard))));
  return { specs: json.weightsManifest[0].weights, data: data.buffer.slice(data.byteOffset, data.byteOffset + data.length) as ArrayBuffer };
}

describe('bad input', () => {
  /** The message of a failed compress; nothing may have been written. */
  async function failure(source: string, ...flags: string[]): Promise<string> {
    const { code, err, out } = await tfws('compress', source, at('never.tfws'), ...flags);
    expect(out).toBe('');
    expect(code).toBe(2);
    expect((await readdir(directory)).filter((name) => name.includes('never'))).toEqual([]);
    return err;
  }

  it('is told apart: nothing there, no model, another format', async () => {
    await mkdir(at('empty'));
    writeFileSync(at('text.json'), 'hello');
    writeFileSync(at('other.json'), '{"a": 1}');
    writeFileSync(at('half.json'), '{"modelTopology": {}}');
    writeFileSync(at('model.h5'), 'HDF');
    writeFileSync(at('bad.tfws'), 'TFWS\x01aaaa');
    expect(await failure(at('nowhere.json'))).toMatch(/there is no file '.*nowhere.json'\. Give a model\.json/);
    expect(await failure(at('empty'))).toMatch(/holds neither model\.json nor model\.tfws/);
    expect(await failure(at('text.json'))).toMatch(/is not a model: neither a \.tfws file nor JSON/);
    expect(await failure(at('other.json'))).toMatch(/is JSON, but not a model: it lacks modelTopology/);
    expect(await failure(at('half.json'))).toMatch(/lacks weightsManifest/);
    expect(await failure(at('model.h5'))).toMatch(/not a TensorFlow\.js model \(\.h5\)\. Convert it first/);
    expect(await failure(at('bad.tfws'))).toMatch(/truncated or damaged: its checksum does not match/);
  });

  it('of shards: missing, too short, too long, or described wrongly', async () => {
    const broken = async (name: string, spoil: (path: string) => void): Promise<string> => {
      await cp(model, at(name), { recursive: true });
      spoil(at(name, 'group1-shard1.bin'));
      return failure(at(name));
    };
    expect(await broken('missing', (shard) => rmSync(shard))).toMatch(/the shard 'group1-shard1\.bin' is missing/);
    expect(await broken('short', (shard) => writeFileSync(shard, readFileSync(shard).subarray(0, 5000)))).toMatch(/its weights need 5780 bytes, but the shards group1-shard1\.bin have 5000/);
    expect(await broken('long', (shard) => writeFileSync(shard, Buffer.concat([readFileSync(shard), Buffer.alloc(4)])))).toMatch(/have 5784/);
    const wrong = await writeModel('wrong-spec', (json) => delete (json.weightsManifest[0].weights[0] as Partial<io.WeightsManifestEntry>).shape);
    expect(await failure(wrong)).toMatch(/the weight specification \{"name":"a\/kernel","dtype":"float32"\} is invalid/);
    const foreign = await writeModel('foreign', (json) => (json.weightsManifest[0].weights[0].name = 'c/kernel'));
    expect(await failure(foreign)).toMatch(/no layer owns the weight 'c\/kernel'/);
  });

  it('of targets: out of reach, with the best that can be had', async () => {
    expect(await failure(model, '--ratio', '300')).toMatch(/ratio 300 cannot be reached: the best is \d+\.\d\d \(\d+ bytes\)/);
  });

  it('keeps layers of unknown classes, and graphs, which are weights all the same', async () => {
    const unknown = await writeModel('unknown', (json) => ((json.modelTopology as { config: { layers: { class_name: string }[] } }).config.layers[1].class_name = 'TheirLayer'));
    expect((await tfws('compress', unknown, at('unknown.tfws'), '--quiet')).code).toBe(0);
    expect(JSON.stringify(decodeModelArtifacts(readFileSync(at('unknown.tfws'))).modelTopology)).toContain('TheirLayer');
    const nodes = { node: [{ name: 'x', op: 'Placeholder' }, { name: 'a/kernel', op: 'Const' }] };
    const graph = await writeModel('graph', (json) => (json.modelTopology = nodes));
    const { code, out } = await tfws('compress', graph, at('graph-small'), '--stock', '--json', '--bits', '2');
    expect(code).toBe(0);
    expect((JSON.parse(out) as { ratio: number }).ratio).toBeGreaterThan(5);
    expect((JSON.parse(readFileSync(at('graph-small', 'model.json'), 'utf8')) as io.ModelJSON).modelTopology).toEqual(nodes);
    expect((await tfws('inspect', graph)).out).toContain('graph-model');
    expect((await tfws('compress', graph, at('g'), '--measure')).err).toMatch(/outputs of graph models are not measured/);
  });

  it('never writes over its input, nor over other files unless told to', async () => {
    const untouched = await contents(model);
    expect((await tfws('compress', model, model, '--stock', '--force')).err).toMatch(/holds the input, which is never overwritten/);
    await tfws('compress', model, at('own.tfws'), '--quiet');
    const own = readFileSync(at('own.tfws'));
    await symlink(at('own.tfws'), at('alias.tfws'));
    for (const out of ['own.tfws', 'alias.tfws']) expect((await tfws('compress', at('own.tfws'), at(out), '--force', '--bits', '1')).err).toMatch(/is part of the input, which is never overwritten/);
    expect((await tfws('compress', model, at('z.tfws'), '--report', join(model, 'model.json'), '--force')).err).toMatch(/is part of the input/);
    expect((await tfws('compress', model, at('own.tfws'), '--bits', '1')).err).toMatch(/exists already\. Choose another output, or say --force/);
    expect((await tfws('compress', model, at('r.tfws'), '--report', at('r.tfws'))).err).toMatch(/is where the model goes\. Choose another file for the report/);
    expect(existsSync(at('r.tfws'))).toBe(false);
    for (const option of ['samples', 'seed']) expect((await tfws('compress', model, at('r.tfws'), `--${option}`, '3')).err).toMatch(new RegExp(`--${option} has a say only with`));
    const json = join(model, 'model.json');
    expect((await tfws('compress', json, json)).err).toMatch(/model\.json' is a file; a compressed model is a file that ends in \.tfws, or model\.tfws in a directory of the name given/);
    expect(readFileSync(at('own.tfws'))).toEqual(own);
    expect(await contents(model)).toEqual(untouched);
    expect((await tfws('compress', model, at('own.tfws'), '--bits', '1', '--force', '--quiet')).code).toBe(0);
    expect(readFileSync(at('own.tfws')).length).toBeLessThan(own.length);
    await mkdir(at('full'));
    writeFileSync(at('full', 'mine.txt'), 'mine');
    expect((await tfws('decompress', model, at('full'))).err).toMatch(/is not empty/);
    expect((await tfws('decompress', model, at('own.tfws'))).err).toMatch(/is a file; a stock model is a directory/);
    expect(await readdir(at('full'))).toEqual(['mine.txt']);
  });
});

describe('a run that fails or is stopped while it writes', () => {
  let bundle = '';
  beforeAll(async () => {
    const source = at('entry');
    await mkdir(source);
    bundle = await bundleForNode(new URL('cli_process.ts', import.meta.url), source);
  });

  /** Runs the command in a process of its own. */
  async function spawned(command: string, args: string[], kill?: { signal: NodeJS.Signals; after: number }): Promise<{ code: number | null; err: string }> {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let err = '';
    child.stderr.on('data', (data: Buffer) => (err += data.toString()));
    if (kill !== undefined) setTimeout(() => child.kill(kill.signal), kill.after);
    return { code: await new Promise((resolve) => child.on('close', resolve)), err };
  }

  it.skipIf(process.platform === 'win32')('leaves what was there, and nothing half-written, when the disk takes no more', async () => {
    await mkdir(at('disk'));
    await tfws('compress', model, at('disk', 'old.tfws'), '--bits', '1', '--quiet');
    await tfws('compress', model, at('disk', 'old'), '--stock', '--quiet');
    const [file, stock] = [await contents(at('disk', 'old')), readFileSync(at('disk', 'old.tfws'))];
    // The limit on a file's size stands for the full disk: a write fails half-way.
    for (const [out, more] of [['old.tfws', ''], ['old', '--stock']]) {
      const { code, err } = await spawned('sh', ['-c', `ulimit -f 1; exec "$0" "$@"`, process.execPath, bundle, 'compress', model, at('disk', out), '--bits', '8', '--force', ...(more === '' ? [] : [more])]);
      expect(code).toBe(2);
      expect(err).toMatch(/cannot be written: .*What stood there before is unchanged\./);
    }
    expect((await readdir(at('disk'))).sort()).toEqual(['old', 'old.tfws']);
    expect(await contents(at('disk', 'old'))).toEqual(file);
    expect(readFileSync(at('disk', 'old.tfws'))).toEqual(stock);
  });

  it.skipIf(process.platform === 'win32')('writes its file though nobody reads what it says', async () => {
    const { code, err } = await spawned('sh', ['-c', `{ "$0" "$@"; echo "left with $?" >&2; } | true`, process.execPath, bundle, 'compress', model, at('unread.tfws'), '--bits', '2']);
    expect([code, err]).toEqual([0, 'left with 0\n']);
    expect(decodeModelArtifacts(readFileSync(at('unread.tfws'))).weightSpecs).toHaveLength(4);
  });

  it('takes file:// as a path, and no other URL for its output', async () => {
    expect((await tfws('compress', `file://${model}`, `file://${at('by_url.tfws')}`, '--bits', '2')).code).toBe(0);
    expect(existsSync(at('by_url.tfws'))).toBe(true);
    for (const more of [[], ['--stock']]) {
      const { code, err } = await tfws('compress', model, 'http://host/model.tfws', '--bits', '2', ...more);
      expect(code).toBe(2);
      expect(err).toContain("'http://host/model.tfws' is a URL, and the output is a file here. Give a path.");
    }
    expect((await tfws('compress', model, at('unreported.tfws'), '--bits', '2', '--report', at('report.txt'))).err).toContain("report.txt': a report is .html or .json.");
    expect((await tfws('verify', model, model, '--samples', '0')).err).toContain('At least 1 is expected.');
    expect((await tfws('verify', model, model, '--tolerance', '-1')).err).toContain('A number ≥ 0 is expected.');
  });

  it('leaves the old file or the new when it is killed, at any moment', async () => {
    await tfws('compress', model, at('killed.tfws'), '--bits', '1', '--quiet');
    const old = readFileSync(at('killed.tfws'));
    await tfws('compress', model, at('wanted.tfws'), '--ratio', '4', '--quiet');
    const wanted = readFileSync(at('wanted.tfws'));
    for (const [signal, after] of [['SIGINT', 400], ['SIGKILL', 700], ['SIGKILL', 900]] as const) {
      await spawned(process.execPath, [bundle, 'compress', model, at('killed.tfws'), '--ratio', '4', '--force'], { signal, after });
      const now = readFileSync(at('killed.tfws'));
      expect(now.equals(old) || now.equals(wanted)).toBe(true);
    }
    expect((await contents(model))['model.json']).toBeDefined();
  });

  it.skipIf(process.platform === 'win32')('removes what it had begun when it is interrupted, a directory of shards and a file', async () => {
    await mkdir(at('stopped'));
    await tfws('compress', model, at('stopped', 'stock'), '--stock', '--bits', '1', '--quiet');
    const old = await contents(at('stopped', 'stock'));
    for (const after of [300, 450, 600, 750]) {
      await spawned(process.execPath, [bundle, 'compress', model, at('stopped', 'stock'), '--stock', '--bits', '6', '--force'], { signal: 'SIGINT', after });
      await spawned(process.execPath, [bundle, 'compress', model, at('stopped', 'file.tfws'), '--bits', '6', '--force'], { signal: 'SIGINT', after });
      expect((await readdir(at('stopped'))).filter((name) => name !== 'stock' && name !== 'file.tfws')).toEqual([]);
      const now = await contents(at('stopped', 'stock'));
      expect(Object.keys(now)).toEqual(Object.keys(old));
    }
  });

  it('cleans up for what the process was writing when it ends, and not for what is done', async () => {
    const script = at('unfinished.mjs');
    const source = at('unfinished');
    await mkdir(source);
    const entry = await bundleForNode(new URL('../../src/cli/unfinished.ts', import.meta.url), source);
    writeFileSync(script, `import { withCleanup } from ${JSON.stringify(entry)};\nimport { writeFileSync } from 'node:fs';\nawait withCleanup(() => writeFileSync(${JSON.stringify(at('done'))}, ''), async () => 1);\nvoid withCleanup(() => writeFileSync(${JSON.stringify(at('cleaned'))}, ''), () => new Promise(() => setTimeout(() => process.exit(130), 10)));\n`);
    expect((await spawned(process.execPath, [script])).code).toBe(130);
    expect([existsSync(at('cleaned')), existsSync(at('done'))]).toEqual([true, false]);
  });
});
