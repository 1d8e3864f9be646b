/** What a training step of a model with an equilibrium in it reads back from the device that it runs on. */
import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { deqLayer } from '../../src/layers/deq_layer.js';
import { anderson } from '../../src/solvers/anderson.js';
import { broyden } from '../../src/solvers/broyden.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { implicit } from '../../src/solvers/implicit.js';
import { lookingOn } from '../../src/solvers/looking.js';
import { seeded } from '../contract/fixtures.js';

const small = (seed: number) => initializers.randomUniform({ minval: -0.2, maxval: 0.2, seed });
const SOLVERS = { fixedPointIteration, anderson, broyden };

/** 3 → equilibrium of tanh(zW + x), with dropout and a Jacobian penalty → 2. */
function network(method: keyof typeof SOLVERS) {
  const [z, x] = [input({ shape: [3] }), input({ shape: [3] })];
  const product = layers.dropout({ rate: 0.2 }).apply(layers.dense({ units: 3, kernelInitializer: small(1) }).apply(z)) as SymbolicTensor;
  const image = layers.activation({ activation: 'tanh' }).apply(layers.add().apply([product, x])) as SymbolicTensor;
  const solver = SOLVERS[method]({ tolerance: 1e-3, maxIterations: 11, checkEvery: 4 });
  const layer = deqLayer({ cell: functionalModel({ inputs: [z, x], outputs: image }), solver, gradient: implicit({ solver }), jacobianPenalty: { weight: 0.1 } });
  const outer = input({ shape: [3] });
  const outputs = layers.dense({ units: 2, kernelInitializer: small(2) }).apply(layer.apply(outer)) as SymbolicTensor;
  return { layer, model: functionalModel({ inputs: outer, outputs }) };
}

/** Calls of all ways in which values leave the device. */
function readings() {
  const backend = tf.backend();
  const named = ['read', 'readSync', 'readToGPU'] as const;
  const spies = named.filter((name) => typeof backend[name] === 'function').map((name) => vi.spyOn(backend, name as 'read'));
  // Below them the only ways by which a page gets values from a GPU.
  const { GPUBuffer, WebGL2RenderingContext } = globalThis as unknown as Record<string, { prototype: Record<'mapAsync' | 'readPixels' | 'getBufferSubData', () => unknown> } | undefined>;
  const below = [...(GPUBuffer ? [vi.spyOn(GPUBuffer.prototype, 'mapAsync')] : []), ...(WebGL2RenderingContext ? (['readPixels', 'getBufferSubData'] as const).map((name) => vi.spyOn(WebGL2RenderingContext.prototype, name)) : [])];
  const calls = (of: { mock: { calls: unknown[] } }[]) => () => of.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
  return { count: calls(spies), downloads: calls(below) };
}

describe.each(Object.keys(SOLVERS) as (keyof typeof SOLVERS)[])('a training step with %s', (method) => {
  afterEach(() => void vi.restoreAllMocks());

  it('reads values only where the solvers look: at each iteration, every few on webgl, never on webgpu', async () => {
    const { layer, model } = network(method);
    const [x, y] = [seeded([4, 3], 1), seeded([4, 2], 2)];
    const optimizer = tf.train.adam(0.01);
    const before = await Promise.all(model.getWeights().map((weight) => weight.data()));
    const read = readings();
    const step = () => optimizer.minimize(() => tf.losses.meanSquaredError(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar);
    step();
    const [inside, downloads] = [read.count(), read.downloads()];
    // The spies see what is read: the report is.
    const { forward, backward } = await layer.report();
    const looks = forward!.looks + backward!.looks;
    const looking = lookingOn();
    if (looking === 'never') expect([inside, downloads, looks]).toEqual([0, 0, 0]);
    if (looking === 'costly') {
      expect([inside, downloads]).toEqual([looks, looks]);
      expect(looks).toBeLessThanOrEqual(2 * Math.ceil(11 / 4));
    }
    if (looking === 'free') expect(looks).toBe(forward!.trace.length + backward!.trace.length);
    expect(read.count()).toBeGreaterThan(0);
    if (looking !== 'free') expect(read.downloads()).toBeGreaterThan(0);
    const after = await Promise.all(model.getWeights().map((weight) => weight.data()));
    after.forEach((values, i) => expect(values, model.weights[i].name).not.toEqual(before[i]));
  });
});
