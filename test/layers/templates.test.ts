import * as tf from '@tensorflow/tfjs-core';
import { constraints, initializers, input, layers, model as functionalModel, regularizers, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { combineTemplates, coefficientSimilarity } from '../../src/layers/combine_templates.js';
import { layerSimilarity } from '../../src/layers/layer_similarity.js';
import { dot, orthogonalMatrix, orthogonalRow } from '../../src/layers/orthogonal_rows.js';
import { templateBank, type TemplateBankArgs } from '../../src/layers/template_bank.js';
import { templateConv2d, type TemplateConv2D, type TemplateConv2DArgs } from '../../src/layers/template_conv2d.js';
import { expectNear, saveAndLoad, savedArtifacts, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';
import golden from '../fixtures/convolution.json';
import { onGpu } from '../helpers.js';

type Nested = number | Nested[];
const { templates, alpha, templateOutput, similarity, x: image } = golden.cases as unknown as Record<string, Nested[]>;
const values = async (tensor: tf.Tensor | tf.Tensor[]) => (await [tensor].flat()[0].data()) as Float32Array;
const tensor = (nested: Nested) => tf.tensor(nested as never);

const bankOf = (x: SymbolicTensor, args: Partial<TemplateBankArgs> = {}) =>
  templateBank({ templates: 2, kernelSize: 3, inputs: 2, filters: 2, seed: 1, ...args }).apply(x) as SymbolicTensor;

describe('templateBank', () => {
  layerContract({
    create: (args: TemplateBankArgs) => templateBank(args),
    args: {
      templates: 2, kernelSize: [1, 3], inputs: 2, filters: 3, seed: 5, passInput: true, kernelInitializer: 'heNormal',
      kernelRegularizer: regularizers.l2({ l2: 0.01 }), kernelConstraint: constraints.maxNorm({ maxValue: 4 }), name: 'template_bank_contract',
    },
    inputShape: [3], parameters: 36, masking: 'passes', learningRate: 0,
  });
});

describe('templateConv2d', () => {
  layerContract({
    create: (args: TemplateConv2DArgs) => templateConv2d(args),
    args: {
      filters: 2, kernelSize: [3, 2], strides: [1, 2], padding: 'same', dataFormat: 'channelsLast', groups: 1, activation: 'tanh', useBias: true,
      coefficientsInitializer: 'ones', coefficientsRegularizer: regularizers.l2({ l2: 0.01 }), biasInitializer: 'ones',
      biasRegularizer: regularizers.l2({ l2: 0.02 }), biasConstraint: constraints.nonNeg(), name: 'template_conv_contract',
    },
    inputShape: [4, 4, 2],
    before: ([x]) => [x, bankOf(x, { kernelSize: [3, 2], name: 'bank_of_contract' })],
    parameters: 4, masking: 'refuses',
  });
});

describe('a combination of templates', () => {
  it('makes the kernel, the outputs and the similarities of the reference', async () => {
    const kernelShape = [3, 3, 4, 4];
    const x = input({ shape: [6, 6, 4] });
    const bank = templateBank({ templates: 3, kernelSize: 3, inputs: 4, filters: 4 });
    const conv = templateConv2d({ filters: 4, kernelSize: 3, padding: 'same', useBias: false });
    const model = functionalModel({ inputs: x, outputs: conv.apply([x, bank.apply(x)] as SymbolicTensor[]) as SymbolicTensor });
    bank.setWeights([tensor(templates)]);
    conv.setWeights([tensor(alpha[1])]);
    expectNear('outputs', await values(model.predict(tensor(image))), await values(tensor(templateOutput)), 1e-5);
    expect(combineTemplates(tensor(templates), tensor(alpha[1])).shape).toEqual(kernelShape);
    expectNear('similarity', coefficientSimilarity(alpha as number[][]).flat(), (similarity as number[][]).flat(), 1e-12);
  });

  it('of one template with coefficient 1 is the host’s convolution', async () => {
    const x = seeded([2, 5, 5, 2], 1);
    const bank = templateBank({ templates: 1, kernelSize: 3, inputs: 2, filters: 3, passInput: true, inputShape: [5, 5, 2] });
    const ours = sequential({ layers: [bank, templateConv2d({ filters: 3, kernelSize: 3, coefficientsInitializer: 'ones', dilationRate: 1, activation: 'relu' })] });
    const host = sequential({ layers: [layers.conv2d({ filters: 3, kernelSize: 3, activation: 'relu', inputShape: [5, 5, 2] })] });
    host.setWeights([tf.reshape(bank.kernel!.read(), [3, 3, 2, 3]), tf.zeros([3])]);
    expectNear('outputs', await values(ours.predict(x)), await values(host.predict(x)), 1e-5);
  });

  it('sees groups of channels, channels first and dilations as the plain convolution does', async () => {
    const x = input({ shape: [4, 6, 6] });
    const bank = templateBank({ templates: 2, kernelSize: 2, inputs: 2, filters: 4 });
    const conv = templateConv2d({ filters: 4, kernelSize: 2, groups: 2, dilationRate: 2, dataFormat: 'channelsFirst', useBias: false });
    const model = functionalModel({ inputs: x, outputs: conv.apply([x, bank.apply(x)] as SymbolicTensor[]) as SymbolicTensor });
    const kernel = combineTemplates(bank.kernel!.read(), conv.coefficients!.read()) as tf.Tensor4D;
    const pixels = seeded([1, 4, 6, 6], 2);
    const last = tf.transpose(pixels, [0, 2, 3, 1]) as tf.Tensor4D;
    const halves = (tf.split(last, 2, 3) as tf.Tensor4D[]).map((half, g) => tf.conv2d(half, (tf.split(kernel, 2, 3) as tf.Tensor4D[])[g], 1, 'valid', 'NHWC', 2));
    const expected = tf.transpose(tf.concat(halves, 3), [0, 3, 1, 2]);
    expect(model.outputs[0].shape).toEqual([null, 4, 4, 4]);
    expectNear('outputs', await values(model.predict(pixels)), await values(expected), 1e-5);
  });
});

describe('the first coefficients', () => {
  it('are orthonormal rows, others for each seed and each run of layers', () => {
    const q = orthogonalMatrix(4, 3);
    q.forEach((a, i) => q.forEach((b, j) => expect(dot(a, b)).toBeCloseTo(i === j ? 1 : 0, 12)));
    expect(orthogonalRow(5, 4, 3)).toEqual(orthogonalMatrix(4, 4)[1]);
    expect(orthogonalMatrix(4, 4)).not.toEqual(q);
  });

  it('are different rows for the layers on one bank', async () => {
    const x = input({ shape: [4, 4, 2] });
    const bank = bankOf(x);
    let h = x;
    for (const name of ['a', 'b', 'c']) h = templateConv2d({ filters: 2, kernelSize: 3, padding: 'same', name }).apply([h, bank]) as SymbolicTensor;
    const [{ layers: names, coefficients }] = await layerSimilarity(functionalModel({ inputs: x, outputs: h }));
    expect(names).toEqual(['a', 'b', 'c']);
    [orthogonalRow(0, 2, 1), orthogonalRow(1, 2, 1), orthogonalRow(2, 2, 1)].forEach((row, i) => expectNear(`row ${i}`, coefficients[i], row, 1e-6));
  });
});

/** The bank as an input of its layers, or upstream in a Sequential. */
function twoLayers(kind: 'functional' | 'sequential', regularized = false, own: Partial<TemplateConv2DArgs> = {}): LayersModel {
  const args = { templates: 2, kernelSize: 3, inputs: 2, filters: 2, seed: 1, kernelRegularizer: regularized ? regularizers.l2({ l2: 0.5 }) : undefined, name: 'bank' };
  const conv = (name: string) => templateConv2d({ filters: 2, kernelSize: 3, padding: 'same', activation: 'tanh', name, ...own });
  if (kind === 'sequential') return sequential({ layers: [templateBank({ ...args, passInput: true, inputShape: [4, 4, 2] }), conv('a'), conv('b')] });
  const x = input({ shape: [4, 4, 2] });
  const bank = templateBank(args).apply(x) as SymbolicTensor;
  return functionalModel({ inputs: x, outputs: conv('b').apply([conv('a').apply([x, bank]) as SymbolicTensor, bank]) as SymbolicTensor });
}

describe.each(['functional', 'sequential'] as const)('templates in a %s model', (kind) => {
  const [x, y] = [() => seeded([3, 4, 4, 2], 1), () => seeded([3, 4, 4, 2], 2)];

  it('have one owner: one weight, one copy in the file, a gradient that is the sum over the layers', async () => {
    const model = twoLayers(kind);
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    expect(model.trainableWeights.map(({ shape }) => shape)).toEqual([[2, 3, 3, 2, 2], [2], [2], [2], [2]]);
    expect(model.countParams()).toBe(72 + 8);
    expect((await savedArtifacts(model)).weightSpecs!.map(({ shape }) => shape)).toEqual([[2, 3, 3, 2, 2], [2], [2], [2], [2]]);
    const weights = model.getWeights() as tf.Variable[];
    const before = await Promise.all(weights.map((weight) => values(weight)));
    const byHand = (given: tf.Tensor[]) => {
      const [t, alphaA, biasA, alphaB, biasB] = given;
      const layer = (h: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => {
        // As a matrix: the host has no gradient of a slice of rank 5 on webgl.
        const [first, second] = [0, 1].map((k) => tf.mul(tf.slice(tf.reshape(t, [2, -1]), [k, 0], [1, -1]), tf.slice(a, [k], [1])));
        const kernel = tf.add(first, second);
        return tf.tanh(tf.add(tf.conv2d(h as tf.Tensor4D, tf.reshape(kernel, [3, 3, 2, 2]), 1, 'same'), b));
      };
      return tf.losses.meanSquaredError(y(), layer(layer(x(), alphaA, biasA), alphaB, biasB)) as tf.Scalar;
    };
    await model.trainOnBatch(x(), y());
    if (process.env.TFWS_BACKEND !== 'wasm') {
      // Stock wasm has no gradient of the host's convolution.
      const gradients = tf.grads((...given: tf.Tensor[]) => byHand(given))(before.map((w, i) => tf.tensor(w, weights[i].shape)));
      for (const [i, weight] of weights.entries()) {
        const g = await values(gradients[i]);
        expectNear(`weight ${i} after a step`, await values(weight), before[i].map((w, k) => w - 0.1 * g[k]), 1e-4);
      }
    } else expect(await values(weights[0])).not.toEqual(before[0]);
  });

  it('survive saving and loading and cloning, and training goes on with one bank', async () => {
    const model = twoLayers(kind);
    const loaded = await saveAndLoad(model);
    expectNear('outputs', await values(loaded.predict(x())), await values(model.predict(x())), 1e-6);
    loaded.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    await loaded.fit(x(), y(), { epochs: onGpu ? 1 : 2, verbose: 0 });
    expect(loaded.countParams()).toBe(80);
    const bank = loaded.getLayer('bank');
    bank.setWeights([tf.zeros([2, 3, 3, 2, 2])]);
    const biases = loaded.getLayer('b').getWeights()[1];
    expectNear('outputs of an empty bank', await values(tf.slice(loaded.predict(x()) as tf.Tensor, [0, 0, 0, 0], [1, 1, 1, 2])), await values(tf.tanh(biases)), 1e-6, 1e-3);
  });

  it('have weight decay once, and none on the coefficients', async () => {
    const model = twoLayers(kind, true);
    model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const [templatesNow] = model.getWeights();
    const expected = (await values(tf.add(tf.losses.meanSquaredError(y(), model.predict(x()) as tf.Tensor), tf.mul(0.5, tf.sum(tf.square(templatesNow))))))[0];
    const { history } = await model.fit(x(), y(), { epochs: 1, verbose: 0 });
    expectNear('loss', [history['loss'][0] as number], [expected], 1e-5);
  });
});

describe('what the templates refuse', () => {
  const x = () => input({ shape: [4, 4, 2], name: undefined });

  it('a bank without templates, and kernels that do not fit the layers', () => {
    expect(() => templateBank({ templates: 0, kernelSize: 3, inputs: 2, filters: 2 })).toThrow('TemplateBank: templates must be an integer ≥ 1, got 0. A bank needs at least one template.');
    expect(() => templateBank({ templates: 1, kernelSize: 3, inputs: 2, filters: 2, size: 1 } as never)).toThrow("TemplateBank: unknown option 'size'");
    const given = x();
    const bank = bankOf(given, { name: 'small' });
    expect(() => templateConv2d({ filters: 3, kernelSize: 3, name: 'wide' }).apply([given, bank])).toThrow(
      "TemplateConv2D: layer 'wide' needs templates of [rows, columns, inputs, filters] [3, 3, 2, 3], and the bank's are [3, 3, 2, 2]. Give layers of one shape one templateBank.",
    );
  });

  it('coefficients of the wrong rank or length', () => {
    const given = tf.zeros([3, 1, 1, 2, 2]);
    expect(() => combineTemplates(given, tf.zeros([1, 3]))).toThrow('combineTemplates: coefficients must be of shape [3], one for each template, got [1, 3].');
    expect(() => combineTemplates(given, tf.zeros([2]))).toThrow('combineTemplates: coefficients must be of shape [3], one for each template, got [2].');
    expect(() => coefficientSimilarity([[1, 2], [1]])).toThrow('coefficientSimilarity: all rows must have 2 coefficients, as the first has, got 1 in row 1.');
    const conv = twoLayers('functional').getLayer('a') as TemplateConv2D;
    const expected = "TemplateConv2D: layer 'a': coefficients must be of shape [2], one for each template of 'bank'";
    for (const shape of [[1, 2], [3]]) {
      expect(() => conv.setWeights([tf.zeros(shape), tf.zeros([2])])).toThrow(`${expected}, got [${shape.join(', ')}]. Give weights of the shapes of getWeights().`);
      const made = () => twoLayers('functional', false, { coefficientsInitializer: Object.assign(initializers.zeros(), { apply: () => tf.zeros(shape) }) });
      expect(made).toThrow(`${expected}, got [${shape.join(', ')}]. Leave coefficientsInitializer out for orthogonal rows.`);
    }
    expect(() => twoLayers('functional', false, { coefficientsInitializer: 'orthogonal' })).toThrow(`${expected}, and coefficientsInitializer 'Orthogonal' makes none of it: Shape must be at least 2D. Leave coefficientsInitializer out for orthogonal rows.`);
  });

  it('to work without a bank, with two, or with one of another kind', async () => {
    expect(() => templateConv2d({ filters: 2, kernelSize: 3, name: 'alone' }).apply(x())).toThrow(
      /TemplateConv2D 'alone': there is no templateBank upstream of its input \(upstream: .*\)\. Give the layer the bank as well, apply\(\[x, bank\]\), or put templateBank\(\{…, passInput: true\}\) before it\./,
    );
    const given = x();
    const twice = bankOf(bankOf(given, { passInput: true, name: 'first' }), { passInput: true, name: 'second' });
    expect(() => templateConv2d({ filters: 2, kernelSize: 3, name: 'between' }).apply(twice)).toThrow("Say which: bank: {name: 'second'}.");
    const chosen = templateConv2d({ filters: 2, kernelSize: 3, bank: { name: 'first' } });
    chosen.apply(twice);
    expect(chosen.bank!.name).toBe('first');
    expect(chosen.getConfig()['bank']).toEqual({ name: 'first' });
    expect(() => chosen.apply([given, bankOf(given)])).toThrow('Leave one of them out.');
    expect(() => templateConv2d({ filters: 2, kernelSize: 3, bank: 3 as never })).toThrow('TemplateConv2D: bank must be a templateBank layer or {name: its name}, got 3.');
    expect(() => templateConv2d({ filters: 2, kernelSize: 3, kernelInitializer: initializers.zeros() } as never)).toThrow("TemplateConv2D: unknown option 'kernelInitializer'");
    await expect(layerSimilarity(sequential({ layers: [layers.dense({ units: 1, inputShape: [1] })] }))).rejects.toThrow('layerSimilarity: the model has no layer that combines what a bank holds.');
  });
});
