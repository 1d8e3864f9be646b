import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import type { RecursiveConv } from '../../src/layers/recursion/recursive_conv.js';
import { templateBank, type TemplateBankArgs } from '../../src/layers/template_bank.js';
import { templateConv2d, type TemplateConv2DArgs } from '../../src/layers/template_conv2d.js';
import { foldTemplates } from '../../src/surgery/fold_templates.js';
import { sharedDirection } from '../../src/surgery/folded_weights.js';
import { expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

const values = async (tensor: tf.Tensor) => (await tensor.data()) as Float32Array;
const CHANNELS = 3;
const x = () => seeded([4, 5, 5, CHANNELS], 1);
type Kind = 'functional' | 'sequential';
/** Parallel to each other, of several lengths and both signs. */
const PARALLEL = [[0.6, -0.8], [-1.2, 1.6], [0.3, -0.4]];
const conv = (name: string, args: Partial<TemplateConv2DArgs> = {}) => templateConv2d({ filters: CHANNELS, kernelSize: 3, padding: 'same', name, ...args });
const bankOf = (args: Partial<TemplateBankArgs> = {}) => templateBank({ templates: 2, kernelSize: 3, inputs: CHANNELS, filters: CHANNELS, seed: 1, name: 'bank', ...args });

/** Given coefficients, and else weights that no chance decides: running variances are positive. */
function settle(model: LayersModel, rows: Record<string, number[]>): LayersModel {
  model.layers.forEach((layer, i) => {
    const own = layer.getWeights().map((weight, j) => {
      if (layer.name in rows && j === 0) return tf.tensor1d(rows[layer.name]);
      const noise = seeded(weight.shape, 10 * i + j + 1);
      return /variance|gamma/.test((weight as tf.Variable).name) ? tf.add(1.3, tf.mul(noise, 0.5)) : tf.mul(noise, 0.4);
    });
    layer.setWeights(own);
  });
  return model;
}

const named = (rows: readonly number[][]): Record<string, number[]> => Object.fromEntries(rows.map((row, l) => [`conv${l}`, row]));

/** bank → (convolution → normalisation → relu) × rows → global pooling → dense. */
function chain(kind: Kind, rows: readonly number[][], { norm = true, activation = 'relu' as const, args = {} as Partial<TemplateConv2DArgs> } = {}): LayersModel {
  const after = (l: number) => [...(norm ? [layers.batchNormalization({ name: `norm${l}`, epsilon: 0.01 })] : []), layers.activation({ activation, name: `act${l}` })];
  const head = [layers.globalAveragePooling2d({ dataFormat: 'channelsLast' }), layers.dense({ units: 2, name: 'head' })];
  if (kind === 'sequential') {
    return settle(sequential({ layers: [bankOf({ passInput: true, inputShape: [5, 5, CHANNELS] }), ...rows.flatMap((_, l) => [conv(`conv${l}`, args), ...after(l)]), ...head] }), named(rows));
  }
  const given = input({ shape: [5, 5, CHANNELS] });
  const bank = bankOf().apply(given) as SymbolicTensor;
  let h = given;
  for (const [l] of rows.entries()) {
    h = conv(`conv${l}`, args).apply([h, bank]) as SymbolicTensor;
    for (const layer of after(l)) h = layer.apply(h) as SymbolicTensor;
  }
  for (const layer of head) h = layer.apply(h) as SymbolicTensor;
  return settle(functionalModel({ inputs: given, outputs: h }), named(rows));
}

const predicted = async (model: LayersModel) => values(model.predict(x()) as tf.Tensor);

describe('foldTemplates', () => {
  it.each(['functional', 'sequential'] as const)('makes one layer of parallel ones, with equal outputs, whatever their scale and sign: %s', async (kind) => {
    const model = chain(kind, PARALLEL);
    const before = await predicted(model);
    const { model: small, folded, kept, parametersBefore, parametersAfter } = await foldTemplates(model);
    expect(folded).toMatchObject([{ name: 'conv0_folded', recursions: 3, layers: ['conv0', 'conv1', 'conv2'] }]);
    expect(folded[0].similarity).toBeCloseTo(1, 6);
    expect(folded[0].kernelError).toBeLessThan(1e-6);
    expect(kept).toEqual([]);
    expect(small.constructor).toBe(model.constructor);
    expect(small.layers.map((layer) => layer.getClassName()).filter((name) => name !== 'InputLayer')).toEqual(['RecursiveConv', 'GlobalAveragePooling2D', 'Dense']);
    // Two templates, 3 × (2 coefficients, 3 biases, 12 of normalisation), the head; one kernel, 3 × 12, the head.
    expect([parametersBefore, parametersAfter]).toEqual([162 + 3 * 17 + 8, 81 + 36 + 8]);
    expect((small.getLayer('conv0_folded') as RecursiveConv).recursions).toBe(3);
    expectNear('outputs', await predicted(small), before, 1e-5);
    expectNear('outputs of the given model', await predicted(model), before, 1e-7);
    expectNear('outputs after loading', await predicted(await saveAndLoad(small)), before, 1e-5);
  });

  it('goes on training as before: with the statistics of batches too, and their running means', async () => {
    const model = chain('sequential', PARALLEL);
    const { model: small } = await foldTemplates(model);
    const losses: number[] = [];
    for (const each of [model, small]) {
      each.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
      const { history } = await each.fit(x(), seeded([4, 2], 3), { epochs: onGpu ? 1 : 2, verbose: 0 });
      losses.push(history['loss'].at(-1) as number);
    }
    // But for ε, which counts c² times as much where the kernel was c times as large.
    expectNear('loss', [losses[1]], [losses[0]], 1e-2);
    expectNear('outputs after the statistics moved', await predicted(small), await predicted(model), 1e-3);
    small.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const { history } = await small.fit(x(), seeded([4, 2], 3), { epochs: 2, verbose: 0 });
    expect(history['loss'][1]).toBeLessThan(history['loss'][0] as number);
  });

  it.each(['functional', 'sequential'] as const)('without batch normalisation keeps a scale and a bias for each recursion: %s', async (kind) => {
    const model = chain(kind, PARALLEL, { norm: false, activation: 'tanh' as never });
    const { model: small, parametersAfter } = await foldTemplates(model);
    expect(parametersAfter).toBe(81 + 3 * 6 + 8);
    expect(small.getLayer('conv0_folded').getWeights().map(({ shape }) => shape)).toEqual([[3, 3, 3, 3], [3, 3], [3, 3]]);
    expectNear('outputs', await predicted(small), await predicted(model), 1e-5);
  });

  it('takes the activation of the convolution, dilation, and convolutions without bias', async () => {
    const given = input({ shape: [5, 5, CHANNELS] });
    const bank = bankOf().apply(given) as SymbolicTensor;
    let h = given;
    for (const l of [0, 1]) h = conv(`conv${l}`, { activation: 'tanh', dilationRate: 2, useBias: false }).apply([h, bank]) as SymbolicTensor;
    const model = settle(functionalModel({ inputs: given, outputs: h }), named(PARALLEL.slice(0, 2)));
    const { model: small } = await foldTemplates(model);
    expect(small.layers.length).toBe(2);
    expectNear('outputs', await predicted(small), await predicted(model), 1e-5);
  });

  it('folds residual stages, with the activation after the addition', async () => {
    const given = input({ shape: [5, 5, CHANNELS] });
    const bank = bankOf().apply(given) as SymbolicTensor;
    let h = given;
    for (const [l] of PARALLEL.entries()) {
      const y = layers.batchNormalization({ name: `norm${l}` }).apply(conv(`conv${l}`).apply([h, bank]) as SymbolicTensor) as SymbolicTensor;
      h = layers.reLU({ name: `relu${l}` }).apply(layers.add({ name: `add${l}` }).apply([h, y]) as SymbolicTensor) as SymbolicTensor;
    }
    const model = settle(functionalModel({ inputs: given, outputs: h }), named(PARALLEL));
    const { model: small } = await foldTemplates(model);
    expect(small.layers.map((layer) => layer.getClassName())).toEqual(['InputLayer', 'RecursiveConv']);
    expect(small.getLayer('conv0_folded').getConfig()).toMatchObject({ connection: 'residual', stateActivation: 'relu', recursions: 3 });
    expectNear('outputs', await predicted(small), await predicted(model), 1e-5);
  });

  /** Blocks of two convolutions, as in a residual network; the second ones may have a bank of their own. */
  function residualNetwork(rows: readonly (readonly [number[], number[]])[], { banks = 1, norm = true } = {}): LayersModel {
    const given = input({ shape: [5, 5, CHANNELS] });
    const bank = Array.from({ length: banks }, (_, b) => bankOf({ name: `bank${b}` }).apply(given) as SymbolicTensor);
    const normalized = (y: SymbolicTensor, name: string) => (norm ? (layers.batchNormalization({ name }).apply(y) as SymbolicTensor) : y);
    let h = layers.activation({ activation: 'tanh', name: 'stem' }).apply(given) as SymbolicTensor;
    for (const [l] of rows.entries()) {
      const first = normalized(conv(`first${l}`).apply([h, bank[0]]) as SymbolicTensor, `norm_a${l}`);
      const second = normalized(conv(`second${l}`).apply([layers.reLU({ name: `inner${l}` }).apply(first) as SymbolicTensor, bank[banks - 1]]) as SymbolicTensor, `norm_b${l}`);
      h = layers.activation({ activation: 'relu', name: `outer${l}` }).apply(layers.add({ name: `add${l}` }).apply([h, second]) as SymbolicTensor) as SymbolicTensor;
    }
    return settle(functionalModel({ inputs: given, outputs: h }), Object.fromEntries(rows.flatMap(([a, b], l) => [[`first${l}`, a], [`second${l}`, b]])));
  }
  const IN_BLOCKS = ['first0', 'second0', 'first1', 'second1', 'first2', 'second2'];
  const blocks = (): [number[], number[]][] => [[[1, 0.5], [0.2, 1]], [[-2, -1], [0.1, 0.5]], [[0.5, 0.25], [-0.3, -1.5]]]; // prettier-ignore

  it.each([{ banks: 1, norm: true }, { banks: 2, norm: true }, { banks: 1, norm: false }])('folds residual blocks of two convolutions, the first ones alike and the second ones: %j', async (how) => {
    const model = residualNetwork(blocks(), how);
    // Without normalisation a scale of each channel makes them a few parameters more.
    const { model: small, folded, kept } = await foldTemplates(model, how.norm ? {} : { layers: IN_BLOCKS });
    expect(folded).toMatchObject([{ name: 'first0_folded', recursions: 3, layers: IN_BLOCKS }]);
    expect(folded[0].similarity).toBeCloseTo(1, 6);
    expect(kept).toEqual([]);
    expect(small.layers.map((layer) => layer.getClassName())).toEqual(['InputLayer', 'Activation', 'RecursiveConv']);
    expectNear('outputs', await predicted(small), await predicted(model), 1e-5);
    expectNear('outputs after loading', await predicted(await saveAndLoad(small)), await predicted(model), 1e-5);
  });

  it('keeps residual blocks apart of which one convolution is not alike', async () => {
    const rows = blocks();
    rows[1][1] = [1, -0.2];
    const { folded, kept } = await foldTemplates(residualNetwork(rows));
    expect(folded).toEqual([]);
    expect(kept).toContainEqual({ layers: ['first0', 'first1'], why: "'second0' and 'second1', in the same residual blocks, are not alike" });
    await expect(foldTemplates(residualNetwork(rows), { layers: ['first0', 'second0', 'first1', 'second1'] })).rejects.toThrow(
      "foldTemplates: 'first0' and 'first1' cannot become one layer: their similarity is 0.0000, below the threshold 0.999.",
    );
    await expect(foldTemplates(residualNetwork(rows), { layers: ['first0', 'first1'] })).rejects.toThrow("foldTemplates: 'second0' is in one residual block with a layer that was named. Name all convolutions of a block.");
    await expect(foldTemplates(residualNetwork(rows), { layers: ['first0', 'second0'] })).rejects.toThrow("foldTemplates: 'first0', 'second0' are one residual block. Name the layers of two blocks at least.");
  });

  it('folds a chain that a skip goes around', async () => {
    const given = input({ shape: [5, 5, CHANNELS] });
    const bank = bankOf().apply(given) as SymbolicTensor;
    let h = given;
    for (const [l] of PARALLEL.entries()) h = conv(`conv${l}`, { activation: 'relu' }).apply([h, bank]) as SymbolicTensor;
    const model = settle(functionalModel({ inputs: given, outputs: layers.add().apply([given, h]) as SymbolicTensor }), named(PARALLEL));
    const { model: small, folded } = await foldTemplates(model);
    expect(folded.map(({ layers: names }) => names)).toEqual([['conv0', 'conv1', 'conv2']]);
    expect(small.layers.map((layer) => layer.getClassName())).toEqual(['InputLayer', 'RecursiveConv', 'Add']);
    expectNear('outputs', await predicted(small), await predicted(model), 1e-5);
  });

  it.each([{ norm: true, how: 'normalised' }, { norm: false, how: 'not normalised' }])('folds blocks of two convolutions that activation and normalisation come before: $how', async ({ norm }) => {
    const given = input({ shape: [5, 5, CHANNELS] });
    const bank = bankOf().apply(given) as SymbolicTensor;
    let h = layers.activation({ activation: 'tanh', name: 'stem' }).apply(given) as SymbolicTensor;
    const before = (y: SymbolicTensor, name: string) => layers.activation({ activation: 'relu', name: `relu_${name}` }).apply(norm ? layers.batchNormalization({ name: `norm_${name}`, epsilon: 0.01 }).apply(y) as SymbolicTensor : y) as SymbolicTensor;
    const rows: Record<string, number[]> = {};
    for (const [l, [a, b]] of blocks().entries()) {
      const first = conv(`first${l}`).apply([before(h, `a${l}`), bank]) as SymbolicTensor;
      const second = conv(`second${l}`).apply([before(first, `b${l}`), bank]) as SymbolicTensor;
      h = layers.add({ name: `add${l}` }).apply([h, second]) as SymbolicTensor;
      Object.assign(rows, { [`first${l}`]: a, [`second${l}`]: b });
    }
    const model = settle(functionalModel({ inputs: given, outputs: before(h, 'end') }), rows);
    const { model: small, folded, kept } = await foldTemplates(model, norm ? {} : { layers: IN_BLOCKS });
    expect(folded).toMatchObject([{ name: 'first0_folded', recursions: 3, layers: IN_BLOCKS }]);
    expect(kept).toEqual([]);
    expect(small.layers.map((layer) => layer.getClassName())).toEqual(['InputLayer', 'Activation', 'RecursiveConv', ...(norm ? ['BatchNormalization'] : []), 'Activation']);
    expectNear('outputs', await predicted(small), await predicted(model), 1e-5);
    expectNear('outputs after loading', await predicted(await saveAndLoad(small)), await predicted(model), 1e-5);
  });

  it('folds what takes no more parameters, all that is named, and says why of every two that are alike and stay', async () => {
    const model = chain('functional', [[1, 0], [2, 0], [0, 1], [0.6, 0.8], [0.3, 0.4], [-1, 0]]);
    const more = 'as one layer they would have 71 more parameters, and free no bank of as many; name them in layers to fold them all the same';
    const apart = (i: number) => `the input of 'conv5' is not what 'conv${i}', up to 'act${i}', makes, but comes from 'act4'`;
    const { folded, kept, parametersBefore, parametersAfter } = await foldTemplates(model);
    expect([folded, parametersAfter]).toEqual([[], parametersBefore]);
    expect(kept).toEqual([
      { layers: ['conv0', 'conv1'], why: more }, { layers: ['conv0', 'conv5'], why: apart(0) }, { layers: ['conv1', 'conv5'], why: apart(1) }, { layers: ['conv3', 'conv4'], why: more },
    ]); // prettier-ignore
    const result = await foldTemplates(model, { layers: ['conv0', 'conv1'] });
    expect(result.folded.map(({ layers: names }) => names)).toEqual([['conv0', 'conv1']]);
    expect(result.parametersAfter - result.parametersBefore).toBe(71);
    expect(result.model.layers.filter((layer) => /Template|Recursive/.test(layer.getClassName())).map(({ name }) => name).sort()).toEqual(['bank', 'conv0_folded', 'conv2', 'conv3', 'conv4', 'conv5']);
    expectNear('outputs', await predicted(result.model), await predicted(model), 1e-5);
    // Two runs that free their bank together.
    const both = await foldTemplates(chain('functional', [[1, 0], [2, 0], [0.6, 0.8], [0.3, 0.4]]));
    expect(both.folded.map(({ layers: names }) => names)).toEqual([['conv0', 'conv1'], ['conv2', 'conv3']]);
    expect(both.parametersAfter).toBeLessThanOrEqual(both.parametersBefore);
    const read = chain('functional', [[1, 0], [2, 0], [3, 0]]);
    const two = functionalModel({ inputs: read.inputs, outputs: [...read.outputs, read.getLayer('act0').output as SymbolicTensor] });
    expect((await foldTemplates(two)).kept).toContainEqual({ layers: ['conv0', 'conv1'], why: "what 'conv0' makes is also read by the model’s outputs" });
    const nothing = await foldTemplates(chain('functional', [[1, 0], [0, 1]]));
    expect([nothing.folded, nothing.kept, nothing.parametersAfter]).toEqual([[], [], nothing.parametersBefore]);
  });

  it('tells how far nearly parallel kernels move', async () => {
    const rows = [[1, 0], [1, 0.1]];
    expect((await foldTemplates(chain('functional', rows))).folded).toEqual([]);
    const model = chain('functional', rows);
    const { model: small, folded } = await foldTemplates(model, { threshold: 0.99 });
    expect(folded[0].similarity).toBeCloseTo(1 / Math.sqrt(1.01), 6);
    // With templates that are orthogonal and equally long, the mean direction is half of an angle of atan(0.1) from both.
    const { factors, errors } = sharedDirection(rows, [[4, 0], [0, 4]]);
    const half = Math.atan2(0.1, 2);
    expect(errors[0]).toBeCloseTo(Math.sin(half), 6);
    expect(errors[1]).toBeCloseTo(Math.sin(Math.atan(0.1) - half), 6);
    expect(Math.max(...factors)).toBe(1);
    expect(folded[0].kernelError).toBeGreaterThan(0.01);
    expect(folded[0].kernelError).toBeLessThan(0.1);
    expectNear('outputs, nearly', await predicted(small), await predicted(model), 0.2);
  });

  it('says what is wrong', async () => {
    const model = chain('functional', [[1, 0], [2, 0], [0, 1]]);
    const refused = (args: object, message: string, given = model) => expect(foldTemplates(given, args)).rejects.toThrow(message);
    await refused({ threshold: 0 }, 'foldTemplates: threshold must be a number in (0, 1], got 0.');
    await refused({ similarity: 1 }, "foldTemplates: unknown option 'similarity'.");
    await refused({ layers: ['conv0', 'head'] }, "foldTemplates: the model has no templateConv2d layer 'head'. There are conv0, conv1, conv2.");
    await refused({ layers: ['conv0'] }, "foldTemplates: layers must name two layers at least, got ['conv0'].");
    await refused({ layers: ['conv0', 'conv2'] }, "foldTemplates: 'conv0' and 'conv2' cannot become one layer: the input of 'conv2' is not what 'conv0', up to 'act0', makes, but comes from 'act1'.");
    await refused({ layers: ['conv1', 'conv2'] }, "foldTemplates: 'conv1' and 'conv2' cannot become one layer: their similarity is 0.0000, below the threshold 0.999.");
    await refused({}, 'foldTemplates: the model has no templateConv2d layer.', sequential({ layers: [layers.dense({ units: 1, inputShape: [1] })] }));
    expect((await foldTemplates(model, { layers: ['conv0', 'conv1'] })).folded.length).toBe(1);
    const pair = async (first: Partial<TemplateConv2DArgs>, second: Partial<TemplateConv2DArgs>, message: string, channels = CHANNELS) => {
      const given = input({ shape: [5, 5, channels] });
      const bank = bankOf({ inputs: channels }).apply(given) as SymbolicTensor;
      const hidden = conv('first', first).apply([given, bank]) as SymbolicTensor;
      // Where the channels change, side by side.
      const other = conv('second', second).apply([channels === CHANNELS ? hidden : given, bank]) as SymbolicTensor;
      const both = settle(functionalModel({ inputs: given, outputs: channels === CHANNELS ? other : [hidden, other] }), { first: [1, 0], second: [2, 0] });
      await refused({ layers: ['first', 'second'] }, `foldTemplates: 'first' and 'second' cannot become one layer: ${message}`, both);
    };
    await pair({ strides: 2 }, {}, "'first' has strides [2, 2], and a recursion keeps the size of its state.");
    await pair({}, { padding: 'valid' }, "'second' has padding 'valid', and a recursion keeps the size of its state.");
    await pair({ activation: 'relu' }, { activation: 'tanh' }, "they differ in activation: 'relu' and 'tanh'.");
    await pair({}, { dilationRate: 2 }, 'they differ in dilationRate: [1, 1] and [2, 2].');
    await pair({}, {}, "'first' makes 3 channels of 2, and the next recursion takes what this one makes.", 2);
    await refused({ layers: ['conv0', 'conv1'] }, "'conv0' is called more than once, or stands inside of another model or layer", sequential({ layers: [chain('sequential', PARALLEL)] }));
    const taken = chain('functional', PARALLEL);
    taken.getLayer('head').name = 'conv0_folded';
    await refused({}, "foldTemplates: the model has a layer 'conv0_folded' already. Rename it.", taken);
  });
});
