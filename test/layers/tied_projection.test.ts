import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, models, regularizers, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { klMergeQuantization } from '../../src/callbacks/kl_merge_quantization.js';
import { sharedValues } from '../../src/callbacks/shared_values.js';
import { encodeModelArtifacts } from '../../src/compression/container.js';
import { decodeContainer } from '../../src/compression/container_reader.js';
import { sizeReport } from '../../src/compression/size_report.js';
import { TiedEmbedding, tiedEmbedding, type TiedEmbeddingArgs } from '../../src/layers/tied_embedding.js';
import { TiedProjection, tiedProjection, type TiedProjectionArgs } from '../../src/layers/tied_projection.js';
import { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
import { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import { alive, expectNear, saveAndLoad, savedArtifacts, seeded, seededIntegers } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

const V = 6;
const WIDTH = 3;
const LENGTH = 4;
let made = 0;

/** The contract's models need their own embedding upstream, of the name that the config says. */
const embedded = (args: Partial<TiedEmbeddingArgs> = {}) => ([ids]: SymbolicTensor[]) =>
  [tiedEmbedding({ inputDim: V, outputDim: WIDTH, ...args }).apply(ids) as SymbolicTensor];
const contract = { create: (args: TiedProjectionArgs) => tiedProjection(args), inputShape: [LENGTH], integers: V, masking: 'passes' as const, learningRate: 1 };

describe('the layer contract holds for tiedProjection', () =>
  layerContract({ ...contract, args: { biasInitializer: 'ones', biasRegularizer: regularizers.l2({ l2: 0.1 }), activation: 'softmax', name: 'contract_scores' }, before: embedded(), parameters: V }));
describe('the layer contract holds for tiedProjection with a matrix before the table, tied by name', () =>
  layerContract({
    ...contract,
    args: {
      embedding: { name: 'Words_of2' }, projection: true, useBias: false, kernelInitializer: 'identity', kernelRegularizer: regularizers.l2({ l2: 1e-4 }), name: 'contract_projection',
    },
    before: embedded({ name: 'Words_of2' }), parameters: WIDTH * WIDTH,
  })); // prettier-ignore
describe('the layer contract holds for tiedProjection from a factorised table', () =>
  layerContract({ ...contract, args: { name: 'contract_of_factors' }, before: embedded({ factorDim: 2 }), parameters: V }));

interface Parts {
  model: LayersModel;
  embedding: TiedEmbedding;
  projection: TiedProjection;
}

type Kind = 'sequential' | 'functional' | 'by edges' | 'head in a model of its own' | 'embedding in a nested model';
const KINDS: Kind[] = ['sequential', 'functional', 'by edges', 'head in a model of its own', 'embedding in a nested model'];

/** ids [batch, 4] → logits [batch, 4, 6], a dense body between; seeded weights. */
function languageModel(kind: Kind, embeddingArgs: Partial<TiedEmbeddingArgs> = {}, projectionArgs: TiedProjectionArgs = {}): Parts {
  const tag = ++made;
  const byEdges = kind === 'by edges' || kind === 'head in a model of its own';
  const embedding = tiedEmbedding({ inputDim: V, outputDim: WIDTH, inputShape: [LENGTH], name: `words_${tag}`, outputTable: byEdges, ...embeddingArgs });
  const body = layers.dense({ units: WIDTH, activation: 'tanh', name: `body_${tag}` });
  const projection = tiedProjection({ name: `scores_${tag}`, ...projectionArgs });
  const ids = input({ shape: [LENGTH] });
  let model: LayersModel;
  if (kind === 'sequential') model = sequential({ layers: [embedding, body, projection] });
  else if (kind === 'functional') model = functionalModel({ inputs: ids, outputs: projection.apply(body.apply(embedding.apply(ids))) as SymbolicTensor });
  else if (kind === 'embedding in a nested model') {
    const encoder = functionalModel({ inputs: ids, outputs: body.apply(embedding.apply(ids)) as SymbolicTensor, name: `encoder_${tag}` });
    const outer = input({ shape: [LENGTH] });
    model = functionalModel({ inputs: outer, outputs: projection.apply(encoder.apply(outer) as SymbolicTensor) as SymbolicTensor });
  } else {
    const [vectors, ...tie] = embedding.apply(ids) as SymbolicTensor[];
    const hidden = body.apply(vectors) as SymbolicTensor;
    if (kind === 'by edges') model = functionalModel({ inputs: ids, outputs: projection.apply([hidden, ...tie]) as SymbolicTensor });
    else {
      const given = [input({ shape: [LENGTH, WIDTH] }), ...tie.map(({ shape }) => input({ batchShape: shape }))];
      const head = functionalModel({ inputs: given, outputs: projection.apply(given) as SymbolicTensor, name: `head_${tag}` });
      model = functionalModel({ inputs: ids, outputs: head.apply([hidden, ...tie]) as SymbolicTensor });
    }
  }
  [embedding, body, projection].forEach((layer, i) => layer.setWeights(layer.getWeights().map((weight, j) => seeded(weight.shape, 10 * i + j + 1))));
  return { model, embedding, projection };
}

const ids = (batch = 5) => seededIntegers([batch, LENGTH], 7, V);
const targets = (batch = 5) => tf.reshape(seededIntegers([batch, LENGTH], 8, V), [batch, LENGTH, 1]);
const values = async (x: tf.Tensor) => Array.from(await x.data());
const predicted = async (model: LayersModel, x = ids()) => values(model.predict(x) as tf.Tensor);

/** The same computation on plain tensors: table [V, WIDTH], kernel [in, out] and bias of the body, output bias. */
function reference(x: tf.Tensor, [table, kernel, bias, outputBias]: tf.Tensor[]): tf.Tensor {
  const flat = tf.oneHot(tf.cast(tf.reshape(x, [-1]), 'int32'), V);
  const vectors = tf.matMul(tf.cast(flat, 'float32') as tf.Tensor2D, table as tf.Tensor2D);
  const hidden = tf.tanh(tf.add(tf.matMul(vectors, kernel as tf.Tensor2D), bias));
  return tf.reshape(tf.add(tf.matMul(hidden as tf.Tensor2D, tf.transpose(table) as tf.Tensor2D), outputBias), [-1, LENGTH, V]);
}
const weightsFor = ({ model, embedding, projection }: Parts): tf.Tensor[] => {
  const own = [...embedding.getWeights(), ...projection.getWeights()];
  const body = model.getWeights().filter((weight) => !own.includes(weight));
  return [embedding.getWeights()[0], ...body, projection.getWeights()[0]];
};

describe('tiedProjection', () => {
  it('multiplies by the transposed table and adds the bias', async () => {
    const x = input({ shape: [1] });
    const embedding = tiedEmbedding({ inputDim: 3, outputDim: 2 });
    const projection = tiedProjection();
    const model = functionalModel({ inputs: x, outputs: projection.apply(embedding.apply(x)) as SymbolicTensor });
    embedding.setWeights([tf.tensor2d([[1, 2], [3, 4], [5, 6]])]);
    projection.setWeights([tf.tensor1d([0.5, 0, -1])]);
    expect(await predicted(model, tf.tensor2d([[1]]))).toEqual([3 + 8 + 0.5, 9 + 16, 15 + 24 - 1]);
    expect(projection.embedding === embedding, 'the layer itself').toBe(true);
  });

  it('inserts its matrix before the table, and adds λ‖P‖² to the loss', async () => {
    const { model, projection } = languageModel('functional', {}, { projection: true, useBias: false, kernelRegularizer: regularizers.l2({ l2: 0.15 }) });
    const before = await predicted(model);
    const [kernel] = projection.getWeights();
    expect(kernel.shape).toEqual([WIDTH, WIDTH]);
    const squares = (await values(kernel)).reduce((sum, w) => sum + w * w, 0);
    expectNear('loss of the projection', await model.calculateLosses()[0].data(), [0.15 * squares], 1e-5);
    projection.setWeights([tf.mul(kernel, 2)]);
    expectNear('logits for twice the matrix', await predicted(model), before.map((logit) => 2 * logit), 1e-5);
  });

  it('allows another width of the hidden state with it, and asks for it without', () => {
    const x = input({ shape: [LENGTH] });
    const hidden = layers.dense({ units: 5 }).apply(tiedEmbedding({ inputDim: V, outputDim: WIDTH }).apply(x)) as SymbolicTensor;
    const projection = tiedProjection({ projection: true });
    expect((projection.apply(hidden) as SymbolicTensor).shape).toEqual([null, LENGTH, V]);
    expect(projection.countParams()).toBe(5 * WIDTH + V);
    expect(() => tiedProjection({ name: 'scores' }).apply(hidden)).toThrow(
      "scores: the input has width 5, the embedding's vectors have 3. Give projection: true for a matrix between them, or make the widths equal.",
    );
  });

  it.each(KINDS)('gives the logits of the shared table: %s', async (kind) => {
    const parts = languageModel(kind);
    expectNear('logits', await predicted(parts.model), await values(reference(ids(), weightsFor(parts))), 1e-5);
  });

  it.each(KINDS)('has a factorised table share both factors: %s', async (kind) => {
    const parts = languageModel(kind, { factorDim: 2 });
    const [table, kernel] = parts.embedding.getWeights();
    const weights = weightsFor(parts).filter((weight) => weight !== kernel);
    weights[0] = tf.matMul(table as tf.Tensor2D, kernel as tf.Tensor2D);
    expectNear('logits', await predicted(parts.model), await values(reference(ids(), weights)), 1e-5);
    expect(parts.embedding.countParams() + parts.projection.countParams()).toBe(2 * V + 2 * WIDTH + V);
  });
});

describe('the table of a tied embedding has one owner', () => {
  it.each(KINDS)('is counted once: %s', (kind) => {
    const { model, embedding, projection } = languageModel(kind);
    expect(embedding.countParams()).toBe(V * WIDTH);
    expect(projection.countParams()).toBe(V);
    expect(model.countParams()).toBe(V * WIDTH + WIDTH * WIDTH + WIDTH + V);
    expect(model.trainableWeights.map(({ shape }) => shape)).toEqual(expect.arrayContaining([[V, WIDTH]]));
    expect(new Set(model.trainableWeights).size).toBe(4);
    expect(model.trainableWeights).toHaveLength(4);
  });

  it.each(KINDS)('is updated once a step, by the gradients of both uses: %s', async (kind) => {
    const parts = languageModel(kind);
    const [x, y] = [ids(), seeded([5, LENGTH, V], 9)];
    const weights = weightsFor(parts).map((weight) => tf.clone(weight));
    const gradient = tf.grads((...given: tf.Tensor[]) => tf.mean(tf.square(tf.sub(reference(x, given), y))))(weights)[0];
    const expected = await values(tf.sub(weights[0], tf.mul(gradient, 0.3)));
    parts.model.compile({ optimizer: tf.train.sgd(0.3), loss: 'meanSquaredError' });
    await parts.model.fit(x, y, { epochs: 1, batchSize: 5, verbose: 0 });
    expectNear('table after one step', await values(parts.embedding.getWeights()[0]), expected, 1e-5);
  });

  it.each(KINDS)('is saved once, and tied again when loaded: %s', async (kind) => {
    const { model, embedding, projection } = languageModel(kind);
    const artifacts = await savedArtifacts(model);
    expect(artifacts.weightSpecs?.map(({ shape }) => shape).filter(([rows, columns]) => rows === V && columns === WIDTH)).toHaveLength(1);
    expect(artifacts.weightSpecs).toHaveLength(4);

    const before = await predicted(model);
    const loaded = await saveAndLoad(model);
    expect(await predicted(loaded)).toEqual(before);
    const again = await saveAndLoad(loaded);
    loaded.compile({ optimizer: tf.train.sgd(1), loss: 'meanSquaredError' });
    await loaded.fit(ids(), seeded([5, LENGTH, V], 9), { epochs: 1, verbose: 0 });
    const [table] = find(loaded, embedding.name).getWeights();
    const parts = { model: loaded, embedding: find(loaded, embedding.name) as TiedEmbedding, projection: find(loaded, projection.name) as TiedProjection };
    expectNear('logits after training what was loaded', await predicted(loaded), await values(reference(ids(), weightsFor(parts))), 1e-5);
    expect(await values(table)).not.toEqual(await values(embedding.getWeights()[0]));
    expect(await predicted(again), 'the first copy is another model').toEqual(before);
  });

  it.each(KINDS)('is once in the compressed file: %s', async (kind) => {
    const { model } = languageModel(kind);
    const file = encodeModelArtifacts(await savedArtifacts(model));
    const artifacts = decodeContainer(file);
    expect(artifacts.weightSpecs).toHaveLength(4);
    const { loadLayersModel } = await import('@tensorflow/tfjs-layers');
    expect(await predicted(await loadLayersModel(tf.io.fromMemory(artifacts)))).toEqual(await predicted(model));
    expect((await sizeReport(model)).parameters).toBe(model.countParams());
  });

  it('is tied anew in a model from JSON alone', async () => {
    const { model } = languageModel('functional');
    const copy = await models.modelFromJSON(JSON.parse(JSON.stringify(model.toJSON(null, false))) as Parameters<typeof models.modelFromJSON>[0]);
    copy.setWeights(model.getWeights());
    expect(await predicted(copy)).toEqual(await predicted(model));
    expect(copy.countParams()).toBe(model.countParams());
  });

  it('is frozen with the embedding, and with it alone', async () => {
    for (const frozen of ['embedding', 'projection'] as const) {
      const parts = languageModel('functional', {}, { projection: true });
      const other = frozen === 'embedding' ? 'projection' : 'embedding';
      const state = async () => ({ embedding: await values(parts.embedding.getWeights()[0]), projection: await values(parts.projection.getWeights()[0]) });
      const before = await state();
      parts[frozen].trainable = false;
      parts.model.compile({ optimizer: tf.train.sgd(0.3), loss: 'meanSquaredError' });
      await parts.model.fit(ids(), seeded([5, LENGTH, V], 9), { epochs: 1, verbose: 0 });
      const after = await state();
      expect(after[frozen], `${frozen} is frozen`).toEqual(before[frozen]);
      expect(after[other], `${other} learns`).not.toEqual(before[other]);
      parts[frozen].trainable = true;
      parts.model.compile({ optimizer: tf.train.sgd(0.3), loss: 'meanSquaredError' });
      await parts.model.fit(ids(), seeded([5, LENGTH, V], 9), { epochs: 1, verbose: 0 });
      expect((await state())[frozen], `${frozen} learns again`).not.toEqual(before[frozen]);
    }
  });

  it('is quantised once by klMergeQuantization, for both uses, and the prior counts it once', async () => {
    const { model, embedding, projection } = languageModel('functional');
    const prior = gmmPrior({ trainingExamples: 20, components: 3 });
    attachRegularizer(model, prior, { layers: [embedding.name] });
    model.compile({ optimizer: tf.train.adam(0.01), loss: sparseCrossEntropy() });
    acceptSparseTargets(model);
    await model.fit(ids(20), targets(20), { epochs: 2, batchSize: 10, verbose: 0, callbacks: [klMergeQuantization({ prior, verbose: false })] });
    const table = await values(embedding.getWeights()[0]);
    expect(new Set(table).size).toBeLessThanOrEqual(3);
    expectNear('logits of the quantised table', await predicted(model), await values(reference(ids(), weightsFor({ model, embedding, projection }))), 1e-5);
  });

  it('stays quantised, and tied, under sharedValues', async () => {
    const parts = languageModel('functional');
    const { model, embedding } = parts;
    const quantised = tf.round(tf.mul(embedding.getWeights()[0], 2));
    embedding.setWeights([quantised]);
    const groups = (table: number[]) => table.map((value) => table.indexOf(value));
    const before = await values(quantised);
    model.compile({ optimizer: tf.train.sgd(0.3), loss: 'meanSquaredError' });
    await model.fit(ids(), seeded([5, LENGTH, V], 9), { epochs: 2, verbose: 0, callbacks: [sharedValues({ layers: [embedding.name] })] });
    const after = await values(embedding.getWeights()[0]);
    expect(groups(after), 'equal weights stay equal').toEqual(groups(before));
    expect(after).not.toEqual(before);
    expectNear('logits of the trained table', await predicted(model), await values(reference(ids(), weightsFor(parts))), 1e-5);
  });

  it('goes with the model when that is disposed of', () => {
    const before = alive();
    const { model } = languageModel('functional', {}, { projection: true });
    tf.dispose(model.getWeights().map(() => tf.scalar(0)));
    expect(model.dispose().numDisposedVariables).toBe(5);
    expect(alive().tensors).toBeLessThanOrEqual(before.tensors + 5 + 1);
  });
});

const find = (model: LayersModel, name: string): layers.Layer =>
  [...model.layers, ...model.layers.flatMap((layer) => (layer as unknown as LayersModel).layers ?? [])].find((layer) => layer.name === name) as layers.Layer;

describe('which embedding a projection is tied to', () => {
  it('three-way tying: one table for the inputs of encoder and decoder and for the output', async () => {
    const [source, target] = [input({ shape: [LENGTH] }), input({ shape: [LENGTH] })];
    const embedding = tiedEmbedding({ inputDim: V, outputDim: WIDTH, embeddingsRegularizer: regularizers.l2({ l2: 1 }) });
    const context = layers.globalAveragePooling1d({}).apply(embedding.apply(source)) as SymbolicTensor;
    const decoded = layers.add().apply([embedding.apply(target), layers.repeatVector({ n: LENGTH }).apply(context)] as SymbolicTensor[]) as SymbolicTensor;
    const model = functionalModel({ inputs: [source, target], outputs: tiedProjection({ useBias: false }).apply(decoded) as SymbolicTensor });
    expect(model.countParams()).toBe(V * WIDTH);
    expect(model.calculateLosses()).toHaveLength(1);
    const x = [ids(), seededIntegers([5, LENGTH], 3, V)];
    const loaded = await saveAndLoad(model);
    expect(await values(loaded.predict(x) as tf.Tensor)).toEqual(await values(model.predict(x) as tf.Tensor));
    const table = tf.clone(embedding.getWeights()[0]);
    model.compile({ optimizer: tf.train.sgd(0.5), loss: 'meanSquaredError' });
    const y = seeded([5, LENGTH, V], 9);
    const forward = (given: tf.Tensor) => {
      const look = (of: tf.Tensor) => tf.reshape(tf.matMul(tf.cast(tf.oneHot(tf.cast(tf.reshape(of, [-1]), 'int32'), V), 'float32') as tf.Tensor2D, given as tf.Tensor2D), [5, LENGTH, WIDTH]);
      const hidden = tf.add(look(x[1]), tf.mean(look(x[0]), 1, true));
      const logits = tf.matMul(tf.reshape(hidden, [-1, WIDTH]) as tf.Tensor2D, tf.transpose(given) as tf.Tensor2D);
      return tf.add(tf.mean(tf.square(tf.sub(tf.reshape(logits, y.shape), y))), tf.sum(tf.square(given)));
    };
    const expected = tf.sub(table, tf.mul(tf.grad(forward as never)(table), 0.5));
    await model.fit(x, y, { epochs: 1, verbose: 0 });
    expectNear('table after one step', await values(embedding.getWeights()[0]), await values(expected), 1e-5);
  });

  it('is said by name where several are upstream', () => {
    const [words, characters] = ['word_Ids', 'characters'].map((name) => tiedEmbedding({ inputDim: V, outputDim: WIDTH, name }));
    const x = input({ shape: [LENGTH] });
    const hidden = layers.add().apply([words.apply(x), characters.apply(x)] as SymbolicTensor[]) as SymbolicTensor;
    expect(() => tiedProjection({ name: 'scores' }).apply(hidden)).toThrow(
      /^scores: its input comes from several tiedEmbedding layers: '(word_Ids', 'characters|characters', 'word_Ids)'\. Say which: tiedProjection\(\{embedding: \{name: '/,
    );
    for (const embedding of [words, { name: 'word_Ids' }]) {
      const projection = tiedProjection({ embedding });
      projection.apply(hidden);
      expect(projection.embedding === words, 'the layer itself').toBe(true);
      expect(projection.getConfig().embedding).toEqual({ name: 'word_Ids' });
    }
  });

  // A layer of a finished model must keep its name: the host would not find its nodes any more.
  it('survives a new name of the embedding before the model is made, and a save after it', async () => {
    const embedding = tiedEmbedding({ inputDim: V, outputDim: WIDTH, name: 'old' });
    const x = input({ shape: [LENGTH] });
    const outputs = tiedProjection({ embedding }).apply(embedding.apply(x)) as SymbolicTensor;
    embedding.name = 'new';
    const model = functionalModel({ inputs: x, outputs });
    const loaded = await models.modelFromJSON(JSON.parse(JSON.stringify(model.toJSON(null, false))) as Parameters<typeof models.modelFromJSON>[0]);
    loaded.setWeights(model.getWeights());
    expect(await predicted(loaded)).toEqual(await predicted(model));
  });

  it('is found by a clone in the model that the clone is put into', () => {
    const { projection } = languageModel('functional', {}, { projection: true });
    const clone = TiedProjection.fromConfig(TiedProjection as never, { ...projection.getConfig(), name: 'clone' }) as unknown as TiedProjection;
    const other = tiedEmbedding({ inputDim: 9, outputDim: 2 });
    expect((clone.apply(other.apply(input({ shape: [1] }))) as SymbolicTensor).shape).toEqual([null, 1, 9]);
    expect(clone.embedding === other, 'the layer itself').toBe(true);
  });

  it('keeps two blocks in one model apart', async () => {
    const [first, second] = [languageModel('functional'), languageModel('functional')];
    const x = input({ shape: [LENGTH] });
    const both = layers.add().apply([first.model.apply(x), second.model.apply(x)] as SymbolicTensor[]) as SymbolicTensor;
    const model = functionalModel({ inputs: x, outputs: both });
    const sum = tf.add(first.model.predict(ids()) as tf.Tensor, second.model.predict(ids()) as tf.Tensor);
    expectNear('logits', await predicted(model), await values(sum), 1e-6);
    expect(model.countParams()).toBe(2 * first.model.countParams());
    expect(await predicted(await saveAndLoad(model))).toEqual(await predicted(model));
  });

  it('runs in a model that is used as a layer', async () => {
    const { model } = languageModel('sequential');
    const x = input({ shape: [LENGTH] });
    const outer = functionalModel({ inputs: x, outputs: model.apply(x) as SymbolicTensor });
    expect(await predicted(outer)).toEqual(await predicted(model));
    expect(await predicted(await saveAndLoad(outer))).toEqual(await predicted(model));
  });

  it('hands the mask of the embedding on', async () => {
    const { model } = languageModel('functional', { maskZero: true });
    const mask = model.computeMask(ids(), undefined);
    expect(await values([mask].flat()[0])).toEqual((await values(ids())).map((id) => Number(id !== 0)));
    const { embedding, projection } = languageModel('by edges', { maskZero: true });
    expect((embedding.computeMask(ids()) as unknown[]).map((each) => each === null)).toEqual([false, true]);
    expect(await values(projection.computeMask([], [tf.ones([1]), null as never]))).toEqual([1]);
  });
});

describe('what tiedProjection refuses', () => {
  const x = () => input({ shape: [LENGTH] });
  const vectors = () => tiedEmbedding({ inputDim: V, outputDim: WIDTH, name: 'words' }).apply(x()) as SymbolicTensor;

  it('an input without an embedding upstream', () => {
    const hidden = layers.embedding({ inputDim: V, outputDim: WIDTH, name: 'untied' }).apply(x()) as SymbolicTensor;
    expect(() => tiedProjection({ name: 'scores' }).apply(hidden)).toThrow(/^scores: there is no tiedEmbedding upstream of its input \(upstream: 'untied', 'input\d+'\)\. Apply it to what is computed from a tiedEmbedding's vectors; where the embedding is in another model, hand its table over: tiedEmbedding\(\{outputTable: true\}\), tiedProjection\(\)\.apply\(\[hidden, table\]\)\.$/);
    expect(() => tiedProjection({ name: 'scores', embedding: { name: 'other' } }).apply(vectors())).toThrow("scores: there is no tiedEmbedding 'other' upstream of its input");
    const elsewhere = tiedEmbedding({ inputDim: V, outputDim: WIDTH, name: 'words' });
    expect(() => tiedProjection({ embedding: elsewhere }).apply(vectors()), 'a layer of that name that is another').toThrow("there is no tiedEmbedding 'words' upstream");
  });

  it('a second embedding, a call outside of a model, call arguments, a table beside a name', () => {
    const projection = tiedProjection({ name: 'scores' });
    projection.apply(vectors());
    expect(() => projection.apply(vectors())).toThrow("scores: is tied to 'words' and cannot be applied to what comes from 'words'. Make another tiedProjection() for that.");
    expect(() => tiedProjection({ name: 'scores' }).apply(tf.zeros([1, LENGTH, WIDTH]))).toThrow("scores: is not tied to an embedding. Apply it in a model, to what is computed from a tiedEmbedding's vectors, or to [hidden, table].");
    expect(() => tiedProjection({ name: 'scores' }).apply(vectors(), { transpose: true })).toThrow("scores: the call argument 'transpose' would be dropped");
    const table = input({ batchShape: [V, WIDTH] });
    expect(() => tiedProjection({ name: 'scores', embedding: { name: 'words' } }).apply([vectors(), table])).toThrow("scores: got both embedding: {name: 'words'} and a table as input. Leave one of them out.");
  });

  it('tables and inputs of other shapes', () => {
    const by = (...shapes: (number | null)[][]) => () => tiedProjection({ name: 'scores' }).apply(shapes.map((batchShape) => input({ batchShape: batchShape as number[] })));
    expect(by([null, 4, 3], [null, 6, 3])).toThrow('scores: beside the input expected a table [vocabulary, width], or [vocabulary, factorDim] and a kernel [factorDim, width], without a batch dimension, got [null, 6, 3]. For an input of a model use tf.input({batchShape: [vocabulary, width]}).');
    expect(by([null, 4, 3], [6, 2], [3, 3])).toThrow('got [6, 2] and [3, 3].');
    expect(by([null, 4, 5], [6, 3])).toThrow("scores: the input has width 5, the embedding's vectors have 3.");
    expect(by([null, null], [6, 3])).toThrow('scores: expected an input [batch, …, hidden] with a known last dimension, got [null, null].');
  });

  it('a hidden state of strings; whole numbers count as numbers', async () => {
    const table = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const projection = tiedProjection({ name: 'scores', useBias: false });
    expect(await values(projection.apply([tf.tensor2d([[1, -1]], [1, 2], 'int32'), table]) as tf.Tensor)).toEqual([-1, -1]);
    expect(() => projection.apply([tf.tensor2d([['a', 'b']]), table])).toThrow('scores expects an input of numbers (float32, int32 or bool), got string.');
  });

  it('options that it does not know', () => {
    const make = (args: object) => () => tiedProjection(args);
    expect(make({ embedding: 'words' })).toThrow("TiedProjection: embedding must be a tiedEmbedding layer or {name: its name}, got 'words'.");
    expect(make({ projection: 3 })).toThrow('TiedProjection: projection must be true or false, got 3.');
    expect(make({ activation: 'sotfmax' })).toThrow('TiedProjection: activation: Unknown activation: sotfmax.');
    expect(make({ units: 3 })).toThrow("TiedProjection: unknown option 'units'.");
  });

  it('stands behind a recurrent layer that starts from given states, as the decoder of a translation does', async () => {
    missingKernelsForThisTest();
    const embedding = tiedEmbedding({ inputDim: 7, outputDim: 4 });
    const [question, answer] = [input({ shape: [3] }), input({ shape: [3] })];
    const options = { units: 4, recurrentInitializer: 'glorotUniform' } as const;
    const [, h, c] = layers.lstm({ ...options, returnState: true }).apply(embedding.apply(question) as SymbolicTensor) as SymbolicTensor[];
    const decoded = layers.lstm({ ...options, returnSequences: true }).apply(embedding.apply(answer) as SymbolicTensor, { initialState: [h, c] }) as SymbolicTensor;
    const translating = functionalModel({ inputs: [question, answer], outputs: tiedProjection().apply(decoded) as SymbolicTensor });
    translating.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const { history } = await translating.fit([tf.ones([2, 3]), tf.ones([2, 3])], tf.ones([2, 3, 7]), { epochs: 1, verbose: 0 });
    expect(history['loss'][0]).toBeGreaterThan(0);
    translating.dispose();
  });
});
