import * as tf from '@tensorflow/tfjs-core';
import { constraints, initializers, input, layers, model as functionalModel, regularizers, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deqLayer } from '../../src/layers/deq_layer.js';
import type { DEQLayerArgs } from '../../src/layers/deq_options.js';
import { spectralNormalization, weightNormalization } from '../../src/layers/kernel_normalization.js';
import { transformerCell } from '../../src/layers/transformer_cell.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import { anderson } from '../../src/solvers/anderson.js';
import { broyden } from '../../src/solvers/broyden.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { implicit } from '../../src/solvers/implicit.js';
import { jacobianFree } from '../../src/solvers/jacobian_free.js';
import { phantom } from '../../src/solvers/phantom.js';
import { unrolled } from '../../src/solvers/unrolled.js';
import { saveAndLoad, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';
import { onGpu, relativeError } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

const WIDTH = 3;
const EXACT = { tolerance: 1e-6, maxIterations: onGpu ? 12 : 60 };

const warnings: string[] = [];
beforeEach(() => {
  warnings.length = 0;
  vi.spyOn(console, 'warn').mockImplementation((message: string) => void warnings.push(message));
});
afterEach(() => void vi.restoreAllMocks());

const small = (seed: number, scale = 0.2) => initializers.randomUniform({ minval: -scale, maxval: scale, seed });

let cells = 0;
/** Made when a backend is there. */
let contractCell: LayersModel | undefined;
/** z ↦ tanh(zW + x) */
function denseCell({ width = WIDTH, dropout = 0, args = {} as object } = {}): LayersModel {
  const [z, x] = [input({ shape: [width] }), input({ shape: [width] })];
  const product = layers.dense({ units: width, kernelInitializer: small(1), name: `cell_dense_${++cells}`, ...args }).apply(z) as SymbolicTensor;
  const dropped = dropout > 0 ? (layers.dropout({ rate: dropout }).apply(product) as SymbolicTensor) : product;
  const sum = layers.add().apply([dropped, x]) as SymbolicTensor;
  return functionalModel({ inputs: [z, x], outputs: layers.activation({ activation: 'tanh' }).apply(sum) as SymbolicTensor, name: `cell_${cells}` });
}

/** z ↦ tanh(zW + xU) as a layer with one kernel each. */
class TestCell extends layers.Layer {
  static readonly className = 'DEQTestCell';
  constructor(readonly args: { units: number; name?: string; statistics?: boolean }) {
    super({ name: args.name } as object);
  }
  override build(shape: (number | null)[][]): void {
    const { units } = this.args;
    this.addWeight('state', [units, units], 'float32', small(1));
    this.addWeight('injection', [shape[1].at(-1) as number, units], 'float32', small(2, 0.5));
    if (this.args.statistics) this.addWeight('count', [1], 'float32', initializers.zeros(), undefined, false);
    super.build(shape);
  }
  override computeOutputShape(shapes: (number | null)[][]): (number | null)[] {
    return [shapes[0][0], this.args.units];
  }
  override call(inputs: tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [w, u, count] = this.weights.map((weight) => weight.read());
      if (count !== undefined) this.weights[2].write(tf.add(count, 1));
      return tf.tanh(tf.add(tf.matMul(inputs[0] as tf.Tensor2D, w as tf.Tensor2D), tf.matMul(inputs[1] as tf.Tensor2D, u as tf.Tensor2D)));
    });
  }
  override getConfig() {
    return { ...super.getConfig(), ...this.args };
  }
}
tf.serialization.registerClass(TestCell);

/** A model of an equilibrium alone. */
function modelOf(args: Omit<DEQLayerArgs, 'cell'> & { cell?: DEQLayerArgs['cell'] }, inputs = [input({ shape: [WIDTH] })]) {
  const layer = deqLayer({ cell: denseCell(), solver: anderson(EXACT), ...args } as DEQLayerArgs);
  const outputs = layer.apply(inputs.length === 1 ? inputs[0] : inputs) as SymbolicTensor;
  return { layer, model: functionalModel({ inputs, outputs }) };
}

const x = () => seeded([4, WIDTH], 3);
const values = async (output: tf.Tensor | tf.Tensor[]) => Promise.all([output].flat().map((part) => part.data()));

describe('deqLayer keeps the layer contract', () => {
  describe('with a model as cell and all options', () =>
    layerContract({
      create: deqLayer,
      args: {
        name: 'contract_deq',
        get cell() { return (contractCell ??= denseCell()); },
        solver: anderson({ window: 3, maxIterations: onGpu ? 3 : 8, tolerance: 1e-2 }), inferenceSolver: broyden({ maxIterations: onGpu ? 4 : 9, tolerance: 1e-2 }),
        gradient: phantom({ steps: 2 }), initialState: 'learned' as const, jacobianPenalty: { weight: 0.01, samples: 2, frequency: 0.9 },
        kernelNormalization: weightNormalization(), trajectory: [2],
      },
      inputShape: [WIDTH], parameters: WIDTH * WIDTH + WIDTH /* bias */ + WIDTH /* gains */ + WIDTH /* start */, masking: 'ends',
    })); // prettier-ignore

  describe('with a layer as cell, implicit gradients and a given start', () =>
    layerContract({
      create: (args: Omit<DEQLayerArgs, 'cell'>) => deqLayer({ ...args, cell: new TestCell({ units: 2 }) }),
      args: { initialState: 'given' as const, solver: fixedPointIteration({ maxIterations: onGpu ? 3 : 6, tolerance: 1e-2 }), name: 'contract_deq_given' },
      inputShape: [[WIDTH], [2]], parameters: 4 + 6, masking: 'ends',
    })); // prettier-ignore
});

describe('the value of deqLayer', () => {
  it('is the fixed point of its cell', async () => {
    const { layer, model } = modelOf({});
    const z = model.predict(x()) as tf.Tensor;
    const next = layer.cell.apply([z, x()]) as tf.Tensor;
    expect(relativeError(await next.data(), await z.data())).toBeLessThan(1e-5);
    expect(await layer.report()).toMatchObject({ training: false, solver: 'Anderson', reason: 'converged', backward: null });
  });

  it('does not depend on where the solve begins', async () => {
    const start = input({ shape: [WIDTH] });
    const cell = denseCell();
    const given = modelOf({ cell, initialState: 'given' }, [input({ shape: [WIDTH] }), start]).model.predict([x(), seeded([4, WIDTH], 9)]) as tf.Tensor;
    const zeros = modelOf({ cell }).model.predict(x()) as tf.Tensor;
    expect(relativeError(await given.data(), await zeros.data())).toBeLessThan(1e-4);
  });

  it('goes by settings that may be changed; what is undefined stays', () => {
    const { layer } = modelOf({ solver: broyden(), inferenceSolver: anderson(), gradient: phantom(), jacobianPenalty: 2 });
    layer.configure({ solver: undefined, inferenceSolver: undefined, gradient: undefined, jacobianPenalty: undefined });
    expect([layer.solver, layer.inferenceSolver, layer.gradient].map((method) => method?.getClassName())).toEqual(['Broyden', 'Anderson', 'Phantom']);
    layer.configure({ inferenceSolver: null, jacobianPenalty: null });
    expect([layer.inferenceSolver, layer.jacobianPenalty]).toEqual([null, null]);
  });

  it('leaves nothing behind when its model is disposed of or its gradient changed: no warm start', async () => {
    const data = x();
    const before = tf.memory().numTensors;
    for (const change of [false, true]) {
      const { layer, model } = modelOf({ gradient: implicit({ warmStart: true }), solver: anderson({ tolerance: 1e-2, maxIterations: 6 }) });
      const { value, grads } = tf.variableGrads(() => tf.mean(model.apply(data, { training: true }) as tf.Tensor) as tf.Scalar);
      tf.dispose([value, grads]);
      await layer.report();
      if (change) layer.configure({ gradient: phantom() });
      model.dispose();
      expect(tf.memory().numTensors).toBe(before);
    }
    data.dispose();
  });

  it('comes from another solver in inference, if one is given', async () => {
    const { layer, model } = modelOf({ solver: fixedPointIteration({ tolerance: 1e-2 }), inferenceSolver: broyden(EXACT) });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    await model.trainOnBatch(x(), tf.zeros([4, WIDTH]));
    const trained = await layer.report();
    expect([trained.training, trained.solver, trained.backward?.reason]).toEqual([true, 'FixedPointIteration', 'converged']);
    tf.dispose(model.predict(x()));
    const inferred = await layer.report();
    expect([inferred.training, inferred.solver]).toEqual([false, 'Broyden']);
    expect(inferred.residual).toBeLessThan(1e-5);
    if (!onGpu) expect(layer.lastReport).toEqual(inferred);
  });

  it('has the states of a cell with several, of different shapes', async () => {
    const [a, b, given] = [input({ shape: [2] }), input({ shape: [3] }), input({ shape: [2] })];
    const dense = (units: number, of: SymbolicTensor, seed: number) => layers.dense({ units, activation: 'tanh', kernelInitializer: small(seed) }).apply(of) as SymbolicTensor;
    const cell = functionalModel({ inputs: [a, b, given], outputs: [layers.add().apply([dense(2, b, 1), given]) as SymbolicTensor, dense(3, a, 2)] });
    const { model } = modelOf({ cell }, [input({ shape: [2] })]);
    const state = model.predict(seeded([2, 2], 5)) as tf.Tensor[];
    const next = cell.predict([...state, seeded([2, 2], 5)]) as tf.Tensor[];
    for (const [i, part] of (await values(state)).entries()) expect(relativeError(await next[i].data(), part)).toBeLessThan(1e-4);
  });

  it('is solved for once where the host calls the layer for each of its outputs', async () => {
    const solver = anderson({ tolerance: 1e-2, maxIterations: 8 });
    const solve = vi.spyOn(solver, 'solve');
    for (const kernelNormalization of [null, spectralNormalization()]) {
      const { layer, model } = modelOf({ cell: denseCell({ dropout: 0.5 }), solver, trajectory: [1, 2], kernelNormalization });
      model.compile({ optimizer: 'sgd', loss: ['meanSquaredError', 'meanSquaredError', 'meanSquaredError'] });
      const target = tf.zeros([4, WIDTH]);
      const counted = async (f: () => unknown) => {
        solve.mockClear();
        tf.dispose((await f()) as tf.Tensor[]);
        return solve.mock.calls.length;
      };
      expect(await counted(() => model.predict(x()))).toBe(1);
      expect(await counted(() => model.trainOnBatch(x(), [target, target, target]))).toBe(2); // forward and backward
      expect((await layer.report()).backward).not.toBe(null);
      const given = x();
      expect(await counted(() => [layer.apply(given), layer.apply(given)].flat())).toBe(2);
      // In one tidy, with other weights and with other settings.
      expect(await counted(() => tf.tidy(() => {
        const first = layer.apply(given) as tf.Tensor[];
        layer.cell.trainableWeights[0].write(tf.zeros([WIDTH, WIDTH]));
        const second = layer.apply(given) as tf.Tensor[];
        layer.configure({ solver });
        return [...first, ...second, ...(layer.apply(given) as tf.Tensor[])];
      }))).toBe(3); // prettier-ignore
    }
  });

  it('takes lengths that are not known before from its input', async () => {
    const [z, given] = [input({ shape: [null, 2] }), input({ shape: [null, 2] })];
    const sum = layers.add().apply([layers.dense({ units: 2, kernelInitializer: small(1) }).apply(z) as SymbolicTensor, given]) as SymbolicTensor;
    const { model } = modelOf({ cell: functionalModel({ inputs: [z, given], outputs: sum }) }, [input({ shape: [null, 2] })]);
    expect(model.outputs[0].shape).toEqual([null, null, 2]);
    expect((model.predict(tf.ones([1, 5, 2])) as tf.Tensor).shape).toEqual([1, 5, 2]);
  });

  it('is 0 where a mask is false, and the mask goes to the layers in the cell and on to the next layer', async () => {
    const seen: unknown[] = [];
    const [z, given] = [input({ shape: [4, 2] }), input({ shape: [4, 2] })];
    const dense = layers.dense({ units: 2, kernelInitializer: small(1) });
    dense.setCallHook((_, kwargs) => void seen.push((kwargs as { mask?: tf.Tensor }).mask?.shape));
    const cell = functionalModel({ inputs: [z, given], outputs: layers.add().apply([dense.apply(z) as SymbolicTensor, given]) as SymbolicTensor });
    const shape = input({ shape: [4, 2] });
    const layer = deqLayer({ cell, solver: anderson(EXACT) });
    const output = layer.apply(layers.masking({ maskValue: 0 }).apply(shape) as SymbolicTensor) as SymbolicTensor;
    const model = functionalModel({ inputs: shape, outputs: output });
    const result = model.predict(tf.tensor3d([[[1, 2], [3, 4], [0, 0], [0, 0]]])) as tf.Tensor;
    const data = await result.data();
    expect(Array.from(data.slice(4))).toEqual([0, 0, 0, 0]);
    expect(Math.min(...data.slice(0, 4).map(Math.abs))).toBeGreaterThan(0.1);
    expect(seen).toContainEqual([1, 4]);
    const mask = tf.tensor2d([[1, 0, 0, 0]], [1, 4], 'bool');
    expect(layer.computeMask(tf.zeros([1, 4, 2]), mask)).toBe(mask);
  });
});

describe('the gradients of deqLayer', () => {
  const gradientsBy = async (args: Partial<DEQLayerArgs>, cell = denseCell()) => {
    const { layer, model } = modelOf({ cell, ...args });
    const weights = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
    const given = x();
    const { grads } = tf.variableGrads(() => tf.sum(tf.square((model as unknown as { apply(x: tf.Tensor, args: object): tf.Tensor }).apply(given, { training: true }))), weights);
    return Promise.all(weights.map(({ name }) => grads[name].data()));
  };

  it('are the same implicitly, by a long unrolling and by finite differences', async () => {
    const cell = denseCell();
    const exact = await gradientsBy({ gradient: implicit() }, cell);
    const long = await gradientsBy({ gradient: unrolled({ steps: 30 }) }, cell);
    exact.forEach((gradient, i) => expect(relativeError(gradient, long[i])).toBeLessThan(1e-4));
    const { layer, model } = modelOf({ cell });
    const loss = async () => (await tf.tidy(() => tf.sum(tf.square(model.predict(x()) as tf.Tensor))).data())[0];
    const weight = layer.trainableWeights[0];
    const start = await weight.read().data();
    const at = async (i: number, by: number) => {
      const moved = start.slice();
      moved[i] += by;
      weight.write(tf.tensor(moved, weight.shape as number[]));
      const value = await loss();
      weight.write(tf.tensor(start, weight.shape as number[]));
      return value;
    };
    for (const i of onGpu ? [0] : [0, 4, 8]) expect(((await at(i, 1e-2)) - (await at(i, -1e-2))) / 2e-2).toBeCloseTo(exact[0][i], 2);
  });

  it('reach what stands before the layer, and are those of one step by jacobianFree', async () => {
    const first = layers.dense({ units: WIDTH, inputShape: [WIDTH], kernelInitializer: small(4) });
    const model = sequential({ layers: [first, deqLayer({ cell: denseCell(), solver: anderson(EXACT), gradient: jacobianFree() })] });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    const before = await first.getWeights()[0].data();
    await model.trainOnBatch(x(), tf.ones([4, WIDTH]));
    expect(await first.getWeights()[0].data()).not.toEqual(before);
  });

  it('go through normalised kernels', async () => {
    for (const kernelNormalization of [weightNormalization(), spectralNormalization({ bound: 0.1 })]) {
      const cell = denseCell();
      const [exact, long] = [await gradientsBy({ kernelNormalization }, cell), await gradientsBy({ kernelNormalization, gradient: unrolled({ steps: 30 }) }, cell)];
      exact.forEach((gradient, i) => expect(relativeError(gradient, long[i])).toBeLessThan(1e-3));
      expect(Math.max(...exact[0].map(Math.abs))).toBeGreaterThan(1e-3);
    }
  });

  it('bring a learned start to the mean of the solutions', async () => {
    const { layer, model } = modelOf({ initialState: 'learned' });
    model.compile({ optimizer: tf.train.sgd(0.5), loss: () => tf.tidy(() => tf.scalar(0)) as never });
    model.compile({ optimizer: tf.train.sgd(0.5), loss: (_, z: tf.Tensor) => tf.mul(tf.sum(z), 0) });
    for (let i = 0; i < (onGpu ? 5 : 20); i++) await model.trainOnBatch(x(), tf.zeros([4, WIDTH]));
    const mean = await tf.mean(model.predict(x()) as tf.Tensor, 0).data();
    expect(layer.weights[0].name).toMatch(/start_0$/);
    expect(relativeError(await layer.weights[0].read().data(), mean)).toBeLessThan(onGpu ? 0.05 : 1e-4);
  });
});

describe('dropout in the cell', () => {
  it('keeps its mask during one solve, forward and backward, and draws another at the next call', async () => {
    const { layer, model } = modelOf({ cell: denseCell({ dropout: 0.5 }), solver: fixedPointIteration({ tolerance: 1e-5, maxIterations: 25 }) });
    const run = () => (model as unknown as { apply(x: tf.Tensor, args: object): tf.Tensor }).apply(x(), { training: true });
    const outputs = [];
    for (let i = 0; i < 4; i++) {
      outputs.push(Array.from(await run().data()).join());
      expect((await layer.report()).reason).toBe('converged');
    }
    expect(new Set(outputs).size).toBeGreaterThan(1);
    const { random } = Math;
    expect(random).toBe(Math.random);
    const weight = layer.trainableWeights[0].read() as tf.Variable;
    const kept = vi.spyOn(Math, 'random').mockReturnValue(0.25); // one seed for both
    const by = (gradient: DEQLayerArgs['gradient']) => {
      layer.configure({ gradient });
      return tf.variableGrads(() => tf.sum(tf.square(run())), [weight]).grads[weight.name];
    };
    const [exact, long] = [by(implicit()), by(unrolled({ steps: 25 }))];
    kept.mockRestore();
    expect(relativeError(await exact.data(), await long.data())).toBeLessThan(1e-3);
  });
});

describe('the weights of deqLayer', () => {
  it('are the cell’s: counted once, frozen and thawed with the layer', () => {
    const { layer, model } = modelOf({});
    expect(model.countParams()).toBe(WIDTH * WIDTH + WIDTH);
    expect(model.trainableWeights.length).toBe(2);
    layer.trainable = false;
    expect([model.trainableWeights.length, model.nonTrainableWeights.length, layer.cell.trainableWeights.length]).toEqual([0, 2, 0]);
    layer.trainable = true;
    expect(model.trainableWeights.length).toBe(2);
  });

  it('are regularized and constrained as the cell says', async () => {
    const { layer, model } = modelOf({ cell: denseCell({ args: { kernelRegularizer: regularizers.l2({ l2: 3 }), kernelConstraint: constraints.nonNeg() } }) });
    model.compile({ optimizer: tf.train.sgd(0), loss: (_, z: tf.Tensor) => tf.mul(tf.sum(z), 0) });
    const { history } = await model.fit(x(), tf.zeros([4, WIDTH]), { epochs: 1, verbose: 0 });
    const kernel = layer.weights[0].read();
    const energy = 3 * (await tf.sum(tf.square(kernel)).data())[0];
    expect((history.loss[0] as number) / energy).toBeCloseTo(1, 5);
    layer.setWeights([tf.fill([WIDTH, WIDTH], -1), tf.zeros([WIDTH])]);
    expect(Math.min(...(await layer.weights[0].read().data()))).toBeCloseTo(0, 10);
  });

  it('take a prior that is attached to the model, whose energy counts once', async () => {
    const { model } = modelOf({});
    const prior = gmmPrior({ trainingExamples: 4, tau: 1 });
    prior.initialize([-0.3, 0.3]);
    attachRegularizer(model, prior);
    model.compile({ optimizer: tf.train.sgd(0), loss: (_, z: tf.Tensor) => tf.mul(tf.sum(z), 0) });
    const { history } = await model.fit(x(), tf.zeros([4, WIDTH]), { epochs: 1, verbose: 0 });
    const kernel = model.weights[0].read();
    expect((history.loss[0] as number) / (await (prior.apply(kernel) as tf.Tensor).data())[0]).toBeCloseTo(1, 4);
  });

  it('come back from a file with a normalisation, whose gains and vectors are saved too', async () => {
    for (const kernelNormalization of [weightNormalization(), spectralNormalization({ bound: 0.2 })]) {
      const { model } = modelOf({ kernelNormalization });
      model.compile({ optimizer: tf.train.sgd(0.5), loss: 'meanSquaredError' });
      await model.trainOnBatch(x(), tf.ones([4, WIDTH]));
      const loaded = await saveAndLoad(model);
      expect(relativeError(await (loaded.predict(x()) as tf.Tensor).data(), await (model.predict(x()) as tf.Tensor).data())).toBeLessThan(1e-6);
      expect(loaded.weights.map(({ shape }) => shape)).toEqual(model.weights.map(({ shape }) => shape));
    }
  });
});

describe('what keeps an equilibrium stable', () => {
  it('stays finite where a kernel, or a unit of it, is zero, and bounds what grows from there', async () => {
    const norm = weightNormalization();
    const kernel = tf.tensor2d([[0, 1], [0, 2]]); // prettier-ignore
    const [{ initial }] = norm.weightsFor(kernel);
    const gain = tf.variable(initial);
    const slope = tf.grad((v) => tf.sum(tf.square(norm.normalize(v, [gain]))))(kernel);
    expect(Array.from(await slope.data()).every(Number.isFinite)).toBe(true);
    const spectral = spectralNormalization({ bound: 0.5, iterations: 4 });
    const [vector] = spectral.weightsFor(tf.zeros([3, 3]));
    const stored = tf.variable(vector.initial);
    expect(Number((await tf.norm(stored).data())[0])).toBeCloseTo(1, 5);
    spectral.normalize(tf.zeros([3, 3]), [stored], true);
    const grown = tf.diag(tf.tensor1d([4, 1, 1])) as tf.Tensor2D;
    for (let i = 0; i < 5; i++) spectral.normalize(grown, [stored], true);
    expect(Math.max(...(await spectral.normalize(grown, [stored], false).data()))).toBeCloseTo(0.5, 3);
    tf.dispose([kernel, initial, gain, slope, vector.initial, stored, grown]);
  });

  it('weightNormalization changes nothing at first, and gives each unit the length of its gain', async () => {
    const cell = denseCell();
    const plain = await (modelOf({ cell }).model.predict(x()) as tf.Tensor).data();
    const { layer, model } = modelOf({ cell, kernelNormalization: weightNormalization() });
    expect(relativeError(await (model.predict(x()) as tf.Tensor).data(), plain)).toBeLessThan(1e-5);
    expect(layer.trainableWeights.map(({ shape }) => shape)).toEqual([[1, WIDTH], [WIDTH, WIDTH], [WIDTH]]);
    layer.trainableWeights[0].write(tf.zeros([1, WIDTH]));
    // z = tanh(x) where all gains are 0.
    expect(relativeError(await (model.predict(x()) as tf.Tensor).data(), await tf.tanh(x()).data())).toBeLessThan(1e-5);
  });

  it('spectralNormalization bounds the largest singular value, and so the spectral radius', async () => {
    const cell = denseCell({ args: { kernelInitializer: initializers.randomUniform({ minval: 0, maxval: 2, seed: 3 }) } });
    const bounded = modelOf({ cell, kernelNormalization: spectralNormalization({ bound: 0.5 }) });
    const still = tf.zeros([1, WIDTH]); // z* = 0, where the Jacobian is the kernel
    const radius = await bounded.layer.spectralRadius(still, { iterations: 20 }).data();
    expect(radius[0]).toBeLessThan(0.501);
    expect(radius[0]).toBeGreaterThan(0.25);
    expect(warnings).toEqual([]);
  });

  it('the spectral radius is that of the masked map, for the inputs of a call as for given ones', async () => {
    // z ↦ ½ z x; the padded step has the largest x.
    const [z, given] = [input({ shape: [3, 1] }), input({ shape: [3, 1] })];
    const dense = layers.dense({ units: 1, kernelInitializer: initializers.constant({ value: 0.5 }), useBias: false });
    const cell = functionalModel({ inputs: [z, given], outputs: layers.multiply().apply([dense.apply(z) as SymbolicTensor, given]) as SymbolicTensor });
    const { layer } = modelOf({ cell }, [input({ shape: [3, 1] })]);
    layer.keepsInputs = true;
    const [steps, mask] = [tf.tensor3d([[[0.24], [0.1], [1]]]), tf.tensor2d([[1, 1, 0]], [1, 3], 'bool')];
    tf.dispose(layer.apply(steps, { mask }) as tf.Tensor);
    const radii = [layer.spectralRadius(), layer.spectralRadius(steps, { mask }), layer.spectralRadius(steps)];
    const [[kept], [masked], [whole]] = await values(radii);
    expect([kept, masked, whole].map((radius) => Number(radius.toFixed(3)))).toEqual([0.12, 0.12, 0.5]);
    layer.dispose();
    tf.dispose([steps, mask, radii]);
  });

  it('jacobianPenalty adds the mean square of the Jacobian to the training loss, and lowers it by training', async () => {
    // z = zW, whose Jacobian is W: ‖W‖² / 3.
    const [z, given] = [input({ shape: [WIDTH] }), input({ shape: [WIDTH] })];
    const sum = layers.add().apply([layers.dense({ units: WIDTH, useBias: false, kernelInitializer: small(1, 0.5) }).apply(z) as SymbolicTensor, given]) as SymbolicTensor;
    const { layer, model } = modelOf({ cell: functionalModel({ inputs: [z, given], outputs: sum }), jacobianPenalty: { weight: 1, samples: onGpu ? 4 : 64 } });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: (_, y: tf.Tensor) => tf.mul(tf.sum(y), 0) });
    const square = async () => (await tf.sum(tf.square(layer.weights[0].read())).data())[0] / WIDTH;
    const before = await square();
    const { history } = await model.fit(tf.zeros([16, WIDTH]), tf.zeros([16, WIDTH]), { epochs: 1, batchSize: 16, verbose: 0 });
    // The estimate's standard deviation is about 5 % here.
    const estimate = (history.loss[0] as number) / before;
    expect(Math.abs(estimate - 1)).toBeLessThan(onGpu ? 0.6 : 0.2);
    // W ← W (1 − 0.1 · 2/3), on average.
    expect((await square()) / before).toBeCloseTo((1 - 0.2 / 3) ** 2, 1);
    tf.dispose(await model.evaluate(tf.zeros([2, WIDTH]), tf.zeros([2, WIDTH])));
  });

  // Known at once only where the host computes.
  it.skipIf(onGpu)('a trajectory leaves nothing behind where a solve throws', () => {
    const { model } = modelOf({ cell: denseCell(), solver: fixedPointIteration({ maxIterations: 4, tolerance: 1e-12, onFailure: 'throw' }), trajectory: [1, 2] });
    const given = x();
    const attempt = () => expect(() => tf.tidy(() => void model.predict(given))).toThrow('did not converge');
    attempt();
    const tensors = tf.memory().numTensors;
    attempt();
    expect(tf.memory().numTensors).toBe(tensors);
  });

  it('a trajectory gives the states on the way, one step further, in order', async () => {
    const cell = denseCell();
    const { model } = modelOf({ cell, solver: fixedPointIteration({ tolerance: 1e-6, maxIterations: 30 }), trajectory: [1, 3, 50] });
    const [root, ...visited] = await values(model.predict(x()) as tf.Tensor[]);
    // The best state after k evaluations is f^(k−1)(0); one step further.
    const after = (steps: number) => tf.tidy(() => {
      let z: tf.Tensor = tf.zeros([4, WIDTH]);
      for (let i = 0; i < steps; i++) z = cell.apply([z, x()]) as tf.Tensor;
      return z;
    }); // prettier-ignore
    expect(relativeError(visited[0], await after(1).data())).toBeLessThan(1e-5);
    expect(relativeError(visited[1], await after(3).data())).toBeLessThan(1e-5);
    expect(relativeError(visited[2], root)).toBeLessThan(1e-5);
  });
});

describe('what is wrong is said', () => {
  const build = (args: Omit<DEQLayerArgs, 'cell'> & { cell?: unknown }, shapes = [[WIDTH]]) => () => modelOf(args as never, shapes.map((shape) => input({ shape })));

  it('of options', () => {
    expect(build({ cell: 'dense' })).toThrow("DEQLayer: cell must be a layer or a model with inputs [z…, x…] and outputs next z…, got 'dense'.");
    expect(build({ solver: 'anderson' as never })).toThrow("DEQLayer: solver must be a solver such as anderson(), got 'anderson'.");
    expect(build({ gradient: anderson() as never })).toThrow('DEQLayer: gradient must be a gradient method such as implicit(), got Anderson.');
    expect(build({ initialState: 'ones' as never })).toThrow("DEQLayer: initialState must be one of 'zeros', 'learned', 'given', got 'ones'.");
    expect(build({ jacobianPenalty: -1 })).toThrow('DEQLayer: jacobianPenalty: weight must be a finite number ≥ 0, got -1.');
    expect(build({ jacobianPenalty: { weight: 1, frequency: 2 } })).toThrow('frequency must be a number strictly between 0 and 1, got 2.');
    expect(build({ kernelNormalization: 'spectral' as never })).toThrow("kernelNormalization must be weightNormalization() or spectralNormalization(), got 'spectral'.");
    expect(build({ gradient: implicit as never })).toThrow('DEQLayer: gradient must be a gradient method such as implicit(), got a function; call it: implicit().');
    expect(build({ solver: broyden as never })).toThrow('DEQLayer: solver must be a solver such as anderson(), got a function; call it: broyden().');
    expect(build({ inferenceSolver: broyden as never })).toThrow('DEQLayer: inferenceSolver must be a solver such as anderson(), got a function; call it: broyden().');
    expect(build({ kernelNormalization: weightNormalization as never })).toThrow('got a function; call it: weightNormalization().');
    expect(build({ trajectory: [3, 2] })).toThrow('DEQLayer: trajectory must be a list of rising iterations ≥ 1, got [3, 2].');
    expect(build({ solvers: 1 } as never)).toThrow("DEQLayer: unknown option 'solvers'. Did you mean 'solver'?");
    expect(() => spectralNormalization({ bound: 0 })).toThrow('spectralNormalization: bound must be a finite number > 0, got 0.');
    expect(() => anderson({ tolerance: 0 })).toThrow('anderson: tolerance must be a finite number > 0, got 0.');
  });

  it('of an estimate of the inverse that the solver does not make, also when one of both is changed', () => {
    const wrong = "DEQLayer: implicit with inverseEstimate: 'answer' needs a solver that estimates the inverse Jacobian, got Anderson. Take broyden as the solver, or inverseEstimate: 'none'.";
    const gradient = implicit({ inverseEstimate: 'answer' });
    expect(build({ gradient })).toThrow(wrong);
    const { layer } = modelOf({ gradient, solver: broyden() });
    expect(() => layer.configure({ solver: anderson() })).toThrow(wrong);
    expect(layer.solver.getClassName()).toBe('Broyden');
    expect(() => modelOf({}).layer.configure({ gradient })).toThrow(wrong);
  });

  it('of a cell whose outputs are no states', () => {
    const [z, given] = [input({ shape: [WIDTH] }), input({ shape: [WIDTH] })];
    const wider = functionalModel({ inputs: [z, given], outputs: layers.concatenate().apply([z, given]) as SymbolicTensor, name: 'wider' });
    expect(build({ cell: wider, name: 'deq_a' })).toThrow(
      `DEQLayer 'deq_a': output 0 of the cell 'wider' has shape [null, 6], its state 0 has shape [null, 3]: they must be the same, since the output is the next state.`,
    );
    expect(build({ cell: layers.concatenate({ name: 'longer' }), name: 'deq_b' })).toThrow("output 0 of the cell 'longer' has shape [null, 9], its state 0 has shape [null, 6]");
  });

  it('of a cell without a state input', () => {
    const z = input({ shape: [WIDTH] });
    const alone = functionalModel({ inputs: z, outputs: layers.dense({ units: WIDTH }).apply(z) as SymbolicTensor, name: 'alone' });
    expect(build({ cell: alone, name: 'deq_c' })).toThrow("DEQLayer 'deq_c': the cell 'alone' has 1 inputs and 1 outputs: there must be more inputs than outputs, [z…, x…], the states first.");
    expect(build({ cell: layers.dense({ units: 2, name: 'one_input' }), name: 'deq_d' })).toThrow(/DEQLayer 'deq_d': the cell 'one_input' \(Dense\) takes no inputs \[z, x\]/);
    const recurrent = build({ cell: layers.lstm({ units: 2, returnSequences: true, name: 'recurrent' }), name: 'deq_l' }, [[4, 2]]);
    expect(recurrent).toThrow(/^DEQLayer 'deq_l': the cell 'recurrent' \(LSTM\) takes no inputs \[z, x\] of shapes \[null, 4, 2\], \[null, 4, 2\]: .* Make the cell a model: tf\.model\({inputs: \[z, x\], outputs: next z}\)\.$/s);
  });

  it('of inputs that the cell does not take', () => {
    expect(build({ cell: denseCell(), name: 'deq_e' }, [[4]])).toThrow(/DEQLayer 'deq_e': expected inputs of shapes \[null, 3\], as the cell .* has beside its state, got \[null, 4\]\./);
    expect(build({ initialState: 'given', name: 'deq_f' })).toThrow('expected inputs of shapes [null, 3], [null, 3], the initial state last');
  });

  it('of cells that change while they are called', async () => {
    const [z, given] = [input({ shape: [WIDTH] }), input({ shape: [WIDTH] })];
    const sum = layers.add().apply([layers.batchNormalization({ name: 'bn' }).apply(z) as SymbolicTensor, given]) as SymbolicTensor;
    expect(build({ cell: functionalModel({ inputs: [z, given], outputs: sum }) })).toThrow(/the cell contains 'bn' \(BatchNormalization\), which normalises by statistics of the batch .* Use layerNormalization, or for images groupNormalization\./);
    const { model } = modelOf({ cell: new TestCell({ units: WIDTH, statistics: true }), name: 'deq_g' });
    expect(() => model.predict(x())).toThrow(/DEQLayer 'deq_g': the cell changes its weight '.*count.*' when it is called/);
  });

  it('of a cell without trainable weights', () => {
    build({ cell: layers.average(), name: 'deq_h' })();
    expect(warnings).toEqual([expect.stringMatching(/^DEQLayer 'deq_h': the cell 'average.*' has no trainable weights/)]);
  });

  it('of NaN from the cell, with iteration and sample, of divergence and of too few iterations, in training and in inference', async () => {
    const said = async (args: Omit<DEQLayerArgs, 'cell'> & { cell: DEQLayerArgs['cell'] }, training: boolean) => {
      const { layer, model } = modelOf(args);
      const before = warnings.length;
      const run = () => (model as unknown as { apply(x: tf.Tensor, args: object): tf.Tensor }).apply(x(), { training });
      tf.dispose([run(), run()]);
      await layer.report();
      return warnings.slice(before);
    };
    const [z, given] = [input({ shape: [WIDTH] }), input({ shape: [WIDTH] })];
    const huge = layers.dense({ units: WIDTH, kernelInitializer: initializers.constant({ value: 1e25 }) });
    const square = layers.multiply().apply([huge.apply(z), huge.apply(z)] as SymbolicTensor[]) as SymbolicTensor;
    const infinite = functionalModel({ inputs: [z, given], outputs: layers.add().apply([square, given]) as SymbolicTensor });
    expect(await said({ cell: infinite, name: 'deq_nan' }, true)).toEqual([expect.stringMatching(/^DEQLayer 'deq_nan' \(training, Anderson\): f was not finite at iteration \d in sample 0 \(4 of 4 samples\)/)]);
    const expansive = denseCell({ args: { kernelInitializer: initializers.identity({ gain: 3 }) } });
    const linear = functionalModel({ inputs: expansive.inputs, outputs: layers.add().apply([expansive.layers.find((layer) => layer.getClassName() === 'Dense')!.output as SymbolicTensor, expansive.inputs[1]]) as SymbolicTensor });
    const diverging = { cell: linear, solver: fixedPointIteration({ maxIterations: 30 }) };
    expect(await said({ ...diverging, name: 'deq_div' }, false)).toEqual([expect.stringMatching(/^DEQLayer 'deq_div' \(inference, FixedPointIteration\): the iterates ran away in 4 of 4 samples/)]);
    const few = { cell: denseCell(), solver: anderson({ tolerance: 1e-6, maxIterations: 2 }) };
    for (const training of [true, false]) {
      const name = `deq_few_${training}`;
      expect(await said({ ...few, name }, training)).toEqual([expect.stringMatching(/: 4 of 4 samples did not converge within 2 evaluations; the relative residual .* Raise maxIterations or the tolerance, or take another solver\.$/)]);
    }
    if (onGpu) return;
    const { model } = modelOf({ cell: denseCell(), solver: anderson({ tolerance: 1e-6, maxIterations: 2, onFailure: 'throw' }), name: 'deq_throw' });
    expect(() => model.predict(x())).toThrow("DEQLayer 'deq_throw' (inference, Anderson): 4 of 4 samples did not converge");
  });

  it('of a penalty on a cell whose gradient has no gradient', () => {
    missingKernelsForThisTest();
    const [z, given] = [input({ shape: [4, 4, 1] }), input({ shape: [4, 4, 1] })];
    const pooled = layers.maxPooling2d({ poolSize: 3, strides: 1, padding: 'same' }).apply(layers.conv2d({ filters: 1, kernelSize: 1, kernelInitializer: small(1) }).apply(z)) as SymbolicTensor;
    const cell = functionalModel({ inputs: [z, given], outputs: layers.add().apply([pooled, given]) as SymbolicTensor });
    const { model } = modelOf({ cell, solver: anderson({ tolerance: 1e-2 }), jacobianPenalty: 0.1, name: 'deq_p' }, [input({ shape: [4, 4, 1] })]);
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const data = seeded([2, 4, 4, 1], 1);
    return expect(model.trainOnBatch(data, data)).rejects.toThrow("DEQLayer 'deq_p': jacobianPenalty: the penalty is a gradient, and the operation MaxPoolGrad in it has none itself. Do without what it comes from");
  });

  it('of reports and radii that there are not', async () => {
    const { layer } = modelOf({ name: 'deq_i' });
    await expect(layer.report()).rejects.toThrow("DEQLayer 'deq_i': there is no report before the first call.");
    await expect(layer.report('training')).rejects.toThrow("DEQLayer 'deq_i': there is no report before the first call in training.");
    await expect(layer.report('validation' as never)).rejects.toThrow("DEQLayer 'deq_i': report must be one of 'training', 'inference', 'last', got 'validation'.");
    expect(layer.lastReport).toBeNull();
    expect(() => layer.spectralRadius()).toThrow("DEQLayer 'deq_i': spectralRadius needs inputs, or keepsInputs = true before the last call.");
  });
});

describe('deqLayer over a sequence with padding', () => {
  it('trains with a Jacobian penalty, whose second derivative needs the mask', async () => {
    missingKernelsForThisTest();
    const ids = input({ shape: [null] });
    const embedding = layers.embedding({ inputDim: 7, outputDim: 4, maskZero: true, embeddingsInitializer: small(5) }).apply(ids) as SymbolicTensor;
    const layer = deqLayer({ cell: transformerCell({ units: 4, numHeads: 2 }), jacobianPenalty: 0.1, solver: fixedPointIteration({ maxIterations: 6 }) });
    const model = functionalModel({ inputs: ids, outputs: layer.apply(embedding) as SymbolicTensor });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const { history } = await model.fit(tf.tensor2d([[3, 1, 4, 0], [2, 6, 0, 0]]), seeded([2, 4, 4], 3), { epochs: 1, verbose: 0 });
    expect(history['loss'][0]).toBeGreaterThan(0);
    model.dispose();
  });
});
