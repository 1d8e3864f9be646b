import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile, mkdir, lstat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { compressed } from '../../src/compression/compressed.js';
import { encodeModelArtifacts } from '../../src/compression/container.js';
import { decodeContainer } from '../../src/compression/container_reader.js';
import { sizeReport } from '../../src/compression/size_report.js';
import { stripTopology } from '../../src/compression/strip_training.js';
import { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import * as loadEntry from '../../src/load.js';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tfws-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const L = tfl.layers;

function mlp(): tfl.Sequential {
  const model = tfl.sequential();
  model.add(L.dense({ units: 5, inputShape: [4], activation: 'relu', kernelRegularizer: 'l1l2', kernelConstraint: 'maxNorm' }));
  model.add(L.dense({ units: 3, activation: 'softmax', biasInitializer: 'randomNormal' }));
  return model;
}

async function artifactsOf(model: tfl.LayersModel, includeOptimizer = false): Promise<tfc.io.ModelArtifacts> {
  let saved: tfc.io.ModelArtifacts = {};
  await model.save(
    tfc.io.withSaveHandler(async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    }),
    { includeOptimizer },
  );
  return saved;
}

async function expectSamePrediction(a: tfl.LayersModel, b: tfl.LayersModel): Promise<void> {
  const shape = a.inputs[0].shape.map((n, i) => (i === 0 ? 2 : (n ?? 3)));
  const integers = a.layers.some((layer) => layer.getClassName() === 'Embedding');
  const x = integers ? tfc.randomUniform(shape, 0, 9, 'int32', 7) : tfc.randomUniform(shape, -1, 1, 'float32', 7);
  const [p, q] = [a.predict(x) as tfc.Tensor, b.predict(x) as tfc.Tensor];
  expect(await q.data()).toEqual(await p.data());
  tfc.dispose([x, p, q]);
}

const models: Record<string, () => tfl.LayersModel> = {
  'dense layers with a regularizer and a constraint': mlp,
  'convolutions and batch normalisation': () => {
    const input = tfl.input({ shape: [8, 8, 2] });
    let x = L.conv2d({ filters: 3, kernelSize: 3, kernelInitializer: 'heNormal', kernelRegularizer: tfl.regularizers.l2() }).apply(input);
    x = L.batchNormalization({ betaInitializer: 'randomNormal', gammaRegularizer: tfl.regularizers.l1() } as object).apply(x);
    x = L.depthwiseConv2d({ kernelSize: 2, depthwiseInitializer: 'ones' }).apply(x);
    x = L.separableConv2d({ filters: 2, kernelSize: 2 }).apply(x);
    x = L.flatten().apply(L.layerNormalization().apply(x));
    return tfl.model({ inputs: input, outputs: L.dense({ units: 2 }).apply(x) as tfl.SymbolicTensor });
  },
  'an embedding and recurrent layers': () =>
    tfl.sequential({
      layers: [
        L.embedding({ inputDim: 10, outputDim: 4, inputLength: 6 }),
        L.bidirectional({ layer: L.lstm({ units: 3, returnSequences: true, recurrentInitializer: 'glorotUniform' }), mergeMode: 'concat' }),
        L.gru({ units: 3, recurrentInitializer: 'glorotUniform', kernelRegularizer: tfl.regularizers.l2() }) as tfl.layers.Layer,
      ],
    }),
  'a model inside a model': () => {
    const input = tfl.input({ shape: [4] });
    return tfl.model({ inputs: input, outputs: L.dense({ units: 2, name: 'head' }).apply(mlp().apply(input)) as tfl.SymbolicTensor });
  },
};

describe('compressed', () => {
  it.each(Object.keys(models))('saves to a file and loads the same model: %s', async (name) => {
    const model = models[name]();
    const path = `file://${directory}/${name.replaceAll(' ', '-')}`;
    const { modelArtifactsInfo } = await model.save(compressed(path));
    expect(modelArtifactsInfo.weightDataBytes).toBe((await stat(`${path.slice(7)}/model.tfws`)).size);
    for (const source of [path, `${path}/model.tfws`, path.slice(7), `${path.slice(7)}/`]) {
      const again = await tfl.loadLayersModel(compressed(source));
      await expectSamePrediction(model, again);
      again.dispose();
    }
    const small = await tfl.loadLayersModel(loadEntry.compressed(path));
    await expectSamePrediction(model, small);
    small.dispose();
    model.dispose();
  });

  it('strips what only training needs, so that a stock loader needs no class of ours', async () => {
    class Foreign extends (Object.getPrototypeOf(tfl.regularizers.l2().constructor) as new () => ReturnType<typeof tfl.regularizers.l2>) {
      static className = 'NobodyRegistersThis';
      override apply(x: tfc.Tensor): tfc.Scalar {
        return tfc.sum(x);
      }
      override getConfig(): tfc.serialization.ConfigDict {
        return {};
      }
    }
    const model = tfl.sequential({ layers: [L.dense({ units: 2, inputShape: [3], kernelRegularizer: new Foreign() })] });
    model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
    await expect(tfl.loadLayersModel(tfc.io.fromMemory(await artifactsOf(model)))).rejects.toThrow(/NobodyRegistersThis/);
    const path = join(directory, 'stripped.tfws');
    await model.save(compressed(path), { includeOptimizer: true });
    const artifacts = decodeContainer(await readFile(path));
    expect(artifacts.trainingConfig).toBeUndefined();
    expect(artifacts.weightSpecs?.map(({ name }) => name.split('/')[1])).toEqual(['kernel', 'bias']);
    expect(JSON.stringify(artifacts)).not.toMatch(/NobodyRegistersThis|initializer":/);
    const again = await tfl.loadLayersModel(tfc.io.fromMemory(artifacts));
    await expectSamePrediction(model, again);
  });

  it('keeps regularizers, training configuration, optimizer and metadata in a resumable save', async () => {
    const model = mlp();
    model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
    model.setUserDefinedMetadata({ note: 'A_b ü', nested: { list: [1, null, 'x'] } });
    await model.fit(tfc.ones([8, 4]), tfc.ones([8, 3]), { epochs: 1, verbose: 0 });
    const original = await artifactsOf(model, true);
    const handler = compressed(join(directory, 'resumable.tfws'), { resumable: true });
    await model.save(handler, { includeOptimizer: true });
    const loaded = await handler.load();
    expect(loaded).toEqual({ ...original, weightData: loaded.weightData });
    expect(new Uint8Array(loaded.weightData as ArrayBuffer)).toEqual(new Uint8Array(original.weightData as ArrayBuffer));
    const again = (await tfl.loadLayersModel(handler)) as tfl.Sequential;
    expect(again.optimizer.getClassName()).toBe('Adam');
    expect(again.getUserDefinedMetadata()).toEqual({ note: 'A_b ü', nested: { list: [1, null, 'x'] } });
  });

  it.each(['maxNorm', 'minMaxNorm', 'unitNorm', 'nonNeg'])('keeps shared values under the constraint %s, or warns that the host will not', async (constraint) => {
    const values = [-0.5, 0, 0.25, 0.75];
    const kernel = tfc.tensor2d(Float32Array.from({ length: 80 }, (_, i) => values[(i * 7 + (i >> 3)) % 4]), [8, 10]);
    const model = tfl.sequential({ layers: [L.dense({ units: 10, inputShape: [8], kernelConstraint: constraint, name: `with_${constraint}` })] });
    // The host's setWeights applies the constraint.
    (model.layers[0].weights[0].read() as tfc.Variable).assign(kernel);
    const before = await kernel.data();
    const path = join(directory, `${constraint}.tfws`);
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    await model.save(compressed(path));
    expect(warn).not.toHaveBeenCalled();
    const deployed = await tfl.loadLayersModel(compressed(path));
    expect(await deployed.getWeights()[0].data()).toEqual(before);

    await model.save(compressed(path, { resumable: true }));
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0][0]).toMatch(
      new RegExp(`^compressed: '.*${constraint}.tfws' holds shared values of 'with_${constraint}/kernel' together with a constraint, .* Save without resumable`),
    );
    warn.mockRestore();
    // The file has the very values; the host changes them.
    const { weightData } = await compressed(path).load();
    expect(new Float32Array(weightData as ArrayBuffer).subarray(0, 80)).toEqual(before);
    const resumed = await tfl.loadLayersModel(compressed(path));
    expect(await resumed.getWeights()[0].data()).not.toEqual(before);
    tfc.dispose(kernel);
    for (const one of [model, deployed, resumed]) one.dispose();
  });

  it('travels in any IOHandler as a stock artefact, and tells a stock artefact from one of ours', async () => {
    const model = mlp();
    let carried: tfc.io.ModelArtifacts = {};
    const memory: tfc.io.IOHandler = {
      save: async (artifacts) => {
        carried = artifacts;
        return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
      },
      load: async () => carried,
    };
    await model.save(compressed(memory));
    expect(carried.weightSpecs).toEqual([{ name: 'tfws', shape: [(carried.weightData as ArrayBuffer).byteLength], dtype: 'bool' }]);
    await expectSamePrediction(model, await tfl.loadLayersModel(compressed(memory)));
    const whole = carried.weightData as ArrayBuffer;
    carried = { ...carried, weightData: [whole.slice(0, 11), whole.slice(11)] };
    await expectSamePrediction(model, await tfl.loadLayersModel(compressed(memory)));
    carried = await artifactsOf(model);
    await expect(tfl.loadLayersModel(compressed(memory))).rejects.toThrow(/the IOHandler holds a model saved without compressed\(…\)\./);
  });

  it('uses the handler that tfjs has for a scheme', async () => {
    const store = new Map<string, tfc.io.ModelArtifacts>();
    const router = (url: string | string[]): tfc.io.IOHandler =>
      typeof url === 'string' && url.startsWith('shelf://')
        ? {
            save: async (artifacts) => {
              store.set(url, artifacts);
              return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
            },
            load: async () => store.get(url)!,
          }
        : (null as unknown as tfc.io.IOHandler);
    tfc.io.registerSaveRouter(router);
    tfc.io.registerLoadRouter(router);
    const model = mlp();
    await model.save(compressed('shelf://a'));
    expect(store.size).toBe(1);
    await expectSamePrediction(model, await tfl.loadLayersModel(compressed('shelf://a')));
    await expect(tfl.loadLayersModel(compressed('nowhere://a'))).rejects.toThrow(/'nowhere:\/\/a' cannot be read: no handler can load it/);
    await expect(model.save(compressed('nowhere://a'))).rejects.toThrow(/cannot save to 'nowhere:\/\/a': no handler with a save method/);
  });

  it('loads over HTTP from the file or its directory, and says that it cannot save there', async () => {
    const model = mlp();
    await model.save(compressed(join(directory, 'served')));
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      readFile(join(directory, (request.url ?? '').replace(/\?.*/, ''))).then(
        (bytes) => response.end(bytes),
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      for (const url of ['/served', '/served/', '/served/model.tfws', '/served?v=1.2']) {
        await expectSamePrediction(model, await tfl.loadLayersModel(compressed(base + url)));
      }
      expect(asked).toEqual(['/served/model.tfws', '/served/model.tfws', '/served/model.tfws', '/served/model.tfws?v=1.2']);
      const lengths: number[] = [];
      const counting = async (url: string): Promise<Response> => {
        const response = await fetch(url);
        lengths.push(Number(response.headers.get('Content-Length')));
        return response;
      };
      await expectSamePrediction(model, await tfl.loadLayersModel(compressed(`${base}/served`, { fetchFunc: counting })));
      await expectSamePrediction(model, await tfl.loadLayersModel(loadEntry.compressed(`${base}/served`, { fetchFunc: counting })));
      const { size } = await stat(join(directory, 'served/model.tfws'));
      expect(lengths).toEqual([size, size]);
      await expect(tfl.loadLayersModel(compressed(`${base}/missing`))).rejects.toThrow(/cannot be read: HTTP 404 for http.*missing\/model\.tfws/);
      await expect(model.save(compressed(base))).rejects.toThrow(/cannot save to 'http.*'\. Save to 'file:\/\/…' \(Node\).*compressed\(tf\.io\.http\(url\)\)/);
    } finally {
      server.close();
    }
  });

  it('leaves the old file and no other when a save fails', async () => {
    const path = join(directory, 'kept');
    await mlp().save(compressed(path));
    const before = await readFile(join(path, 'model.tfws'));
    const broken = { ...(await artifactsOf(mlp())), weightData: new ArrayBuffer(3) };
    await expect(compressed(path).save(broken)).rejects.toThrow(/the weight specifications describe/);
    // A directory in the way of the file makes the last step, the rename, fail.
    await mkdir(join(directory, 'blocked', 'model.tfws', 'x'), { recursive: true });
    await expect(mlp().save(compressed(join(directory, 'blocked')))).rejects.toThrow(/cannot be written: .*What stood there before is unchanged\./);
    expect(await readdir(join(directory, 'blocked'))).toEqual(['model.tfws']);
    await writeFile(join(directory, 'plain'), 'a file');
    await expect(mlp().save(compressed(join(directory, 'plain')))).rejects.toThrow(/cannot be written/);
    expect(await readFile(join(path, 'model.tfws'))).toEqual(before);
    expect(await readdir(path)).toEqual(['model.tfws']);
  });

  it('replaces the target of a link and keeps the link', async () => {
    await mlp().save(compressed(join(directory, 'real.tfws')));
    await symlink(join(directory, 'real.tfws'), join(directory, 'link.tfws'));
    const model = mlp();
    await model.save(compressed(join(directory, 'link.tfws')));
    expect((await lstat(join(directory, 'link.tfws'))).isSymbolicLink()).toBe(true);
    await expectSamePrediction(model, await tfl.loadLayersModel(compressed(join(directory, 'real.tfws'))));
  });

  it('says which file cannot be read, and which topology does not match its weights', async () => {
    await expect(tfl.loadLayersModel(compressed(join(directory, 'absent')))).rejects.toThrow(/compressed: '.*absent' cannot be read: ENOENT/);
    await writeFile(join(directory, 'empty.tfws'), '');
    await expect(tfl.loadLayersModel(compressed(join(directory, 'empty.tfws')))).rejects.toThrow(/empty\.tfws' is empty/);
    const artifacts = await artifactsOf(mlp());
    const save = async (change: Partial<tfc.io.ModelArtifacts>): Promise<string> => {
      const path = join(directory, 'mixed.tfws');
      await writeFile(path, encodeModelArtifacts({ ...artifacts, ...change }));
      return path;
    };
    const topology = (from: string | RegExp, to: string): object =>
      JSON.parse(JSON.stringify(artifacts.modelTopology).replaceAll(from, to)) as object;
    const name = artifacts.weightSpecs![0].name.split('/')[0];
    await expect(compressed(await save({ modelTopology: topology(name, 'another') })).load()).rejects.toThrow(
      new RegExp(`mixed.tfws': the topology does not match the weights: no layer owns the weight '${name}/kernel'`),
    );
    await expect(compressed(await save({ modelTopology: topology('"units":5', '"units":6') })).load()).rejects.toThrow(
      /has 6 outputs, but its kernel has the shape \[4, 5\]\. Save the model again/,
    );
    const twice = artifacts.weightSpecs!.map((spec) => (spec.name === `${name}/bias` ? { ...spec, name: `${name}/kernel` } : spec));
    await expect(compressed(await save({ weightSpecs: twice })).load()).rejects.toThrow(`two weights are named '${name}/kernel'`);
    const nested = JSON.parse(`${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`) as object;
    await expect(compressed(await save({ modelTopology: { ...artifacts.modelTopology, nested } })).load()).rejects.toThrow('compressed: the topology is nested more than 500 levels deep');
  });

  it('refuses unknown options and targets that are none', () => {
    expect(() => compressed('x', { resumeable: true } as object)).toThrow(/compressed: unknown option 'resumeable'\. Did you mean 'resumable'\?/);
    expect(() => compressed('x', { resumable: 1 } as unknown as object)).toThrow(/resumable must be true or false, got 1/);
    expect(() => compressed('x', { fetchFunc: 'mine' } as unknown as object)).toThrow(/fetchFunc must be a function, got 'mine'/);
    expect(() => compressed(7 as unknown as string)).toThrow(/the target must be a path, a URL or an IOHandler, got 7/);
    expect(() => compressed('')).toThrow(/the target must be a path/);
  });

  it('strips regularizers and constraints also from the options of a layer’s parts, and keys of those names nowhere else', () => {
    const part = { kernel_size: 3, kernel_regularizer: { class_name: 'L2', config: { l2: 1 } }, kernel_constraint: { class_name: 'NonNeg', config: {} }, kernel_initializer: 'zeros' };
    const model = { own_regularizer: 'mine', class_name: 'Sequential', config: { layers: [{ class_name: 'RecursiveConv', config: { block: [part], head: part } }] } };
    const bare = { ...part, kernel_regularizer: null, kernel_constraint: null };
    expect(stripTopology(model)).toEqual({ ...model, config: { layers: [{ class_name: 'RecursiveConv', config: { block: [bare], head: bare } }] } });
  });

  it('strips initializers only from layers that have defaults for them', () => {
    const layer = (class_name: string): object => ({
      class_name,
      config: { kernel_initializer: { class_name: 'Zeros', config: {} }, kernel_regularizer: { class_name: 'X', config: {} }, units: 1 },
    });
    expect(stripTopology(layer('Dense'))).toEqual({ class_name: 'Dense', config: { kernel_regularizer: null, units: 1 } });
    expect(stripTopology(layer('Mine'))).toEqual({
      class_name: 'Mine',
      config: { kernel_initializer: { class_name: 'Zeros', config: {} }, kernel_regularizer: null, units: 1 },
    });
  });
});

describe('sizeReport', () => {
  it('gives the bytes of the file that a save writes, and parts that add up to it', async () => {
    const model = mlp();
    const path = join(directory, 'sized.tfws');
    await model.save(compressed(path));
    const size = (await stat(path)).size;
    const report = await sizeReport(model);
    expect(report.fileBytes).toBe(size);
    expect(report.parameters).toBe(4 * 5 + 5 + 5 * 3 + 3);
    expect(report.ratio).toBe((4 * 43) / size);
    expect(report.topologyBytes + report.codebookBytes + report.indexBytes + report.headerBytes).toBeCloseTo(size, 6);
    expect(report.weights.map(({ encoding, distinct }) => [encoding, distinct])).toEqual([['raw', 20], ['constant', 1], ['raw', 15], ['raw', 3]]);
    expect((await sizeReport(new Uint8Array(await readFile(path)))).fileBytes).toBe(size);
    expect((await sizeReport(await compressed(path).load())).fileBytes).toBe(size);
    await expect(sizeReport(5 as unknown as Uint8Array)).rejects.toThrow(/sizeReport: expected a model, model artefacts or the bytes/);
  });

  it('leaves metrics that are functions out of a resumable save, which then loads', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const model = tfl.sequential({ layers: [L.dense({ units: 3, inputShape: [2] })] });
    model.compile({ optimizer: tfc.train.adam(0.1), loss: sparseCrossEntropy(), metrics: ['mse', sparseCrossEntropy()] });
    let saved: tfc.io.ModelArtifacts | null = null;
    const memory = tfc.io.withSaveHandler(async (artifacts) => ((saved = artifacts), { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }));
    await model.save(compressed(memory, { resumable: true }), { includeOptimizer: true });
    const text = warn.mock.calls.flat().join();
    warn.mockRestore();
    expect(text).toContain('compressed: metrics that are functions cannot be saved, left out: sparse_cross_entropy. After loading, compile again with them and the optimizer of the loaded model');
    const loaded = await tfl.loadLayersModel(compressed(tfc.io.fromMemory(saved!)));
    expect(loaded.optimizer.getClassName()).toBe('Adam');
    loaded.compile({ optimizer: loaded.optimizer, loss: sparseCrossEntropy() });
  });
});

describe('models that the host saves and loads', () => {
  const predictions = async (model: tfl.LayersModel, x: tfc.Tensor) => (model.predict(x) as tfc.Tensor).data();
  const roundTrip = async (model: tfl.LayersModel, x: tfc.Tensor, resumable = false) => {
    const path = join(directory, `${model.name}.tfws`);
    await model.save(compressed(path, { resumable }));
    const loaded = await tfl.loadLayersModel(compressed(path));
    expect(await predictions(loaded, x)).toEqual(await predictions(model, x));
    return loaded;
  };

  it('may have slashes in names', async () => {
    const model = tfl.sequential({ layers: [L.dense({ units: 3, inputShape: [4], name: 'block/dense' }), L.dense({ units: 2, name: 'block/sub/last' })] });
    await roundTrip(model, tfc.ones([2, 4]));
    const stranger = { ...decodeContainer(new Uint8Array(await readFile(join(directory, `${model.name}.tfws`))), 'x') };
    stranger.weightSpecs = stranger.weightSpecs!.map((spec, k) => (k === 0 ? { ...spec, name: 'block/other/kernel' } : spec));
    await expect(compressed(join(directory, 'stranger.tfws')).save!(stranger)).rejects.toThrow("no layer owns the weight 'block/other/kernel'");
  });

  it('may have a layer inside of another called as one outside', async () => {
    const x = tfl.input({ shape: [3, 4] });
    const inner = L.timeDistributed({ layer: L.dense({ units: 8, name: 'fc' }) }).apply(x) as tfl.SymbolicTensor;
    const model = tfl.model({ inputs: x, outputs: L.dense({ units: 4, name: 'fc' }).apply(L.flatten().apply(inner)) as tfl.SymbolicTensor });
    await roundTrip(model, tfc.ones([2, 3, 4]));
  });

  it('may be graphs with a graph of their own that initialises', async () => {
    const node = (name: string, op: string) => ({ name, op, input: [], attr: {} });
    const path = join(directory, 'graph.tfws');
    await compressed(path).save!({
      format: 'graph-model', modelTopology: { node: [node('x', 'Placeholder')] }, modelInitializer: { node: [node('init/keys', 'Const')] },
      weightSpecs: [{ name: 'init/keys', shape: [2], dtype: 'int32' }], weightData: new Int32Array([3, 4]).buffer,
    }); // prettier-ignore
    expect((await compressed(path).load!()).weightSpecs).toEqual([{ name: 'init/keys', shape: [2], dtype: 'int32' }]);
  });

  it('load at once, whatever initialised their recurrent weights', async () => {
    const cell = () => L.lstmCell({ units: 5, recurrentInitializer: 'glorotUniform' });
    const model = tfl.sequential({ layers: [L.rnn({ cell: [cell(), cell()], inputShape: [4, 3] })] });
    const loaded = await roundTrip(model, tfc.ones([2, 4, 3]));
    expect(JSON.stringify(loaded.getConfig())).not.toContain('Orthogonal');
  });

  it('may have a regularised depthwise convolution, which the host writes as a constraint, too', async () => {
    const model = tfl.sequential({ layers: [L.depthwiseConv2d({ kernelSize: 2, inputShape: [3, 3, 2] }), L.flatten(), L.dense({ units: 2 })] });
    attachRegularizer(model, gmmPrior({ trainingExamples: 10 }));
    await roundTrip(model, tfc.ones([1, 3, 3, 2]), true);
  });
});
