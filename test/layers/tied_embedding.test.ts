import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, regularizers, sequential, type LayersModel, type LayerVariable, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { areTokensChecked } from '../../src/kernels/token_ids/index.js';
import { TiedEmbedding, tiedEmbedding, type TiedEmbeddingArgs } from '../../src/layers/tied_embedding.js';
import { alive, expectNear, saveAndLoad, savedArtifacts, seeded, seededIntegers } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

const contract = {
  create: (args: TiedEmbeddingArgs) => tiedEmbedding(args),
  inputShape: [4], integers: 7, masking: (x: tf.Tensor) => tf.notEqual(x, 0), learningRate: 1,
}; // prettier-ignore

describe('the layer contract holds for tiedEmbedding', () =>
  layerContract({
    ...contract,
    args: {
      inputDim: 7, outputDim: 3, maskZero: true, name: 'contract_tied', embeddingsInitializer: 'ones',
      embeddingsRegularizer: regularizers.l2({ l2: 0.5 }), embeddingsConstraint: 'nonNeg', inputShape: [4],
    },
    parameters: 21,
  })); // prettier-ignore
describe('the layer contract holds for tiedEmbedding with factors', () =>
  layerContract({
    ...contract,
    args: { inputDim: 7, outputDim: 3, factorDim: 2, maskZero: true, name: 'contract_factors', kernelInitializer: 'ones', kernelRegularizer: 'l1l2' },
    parameters: 20,
  }));

/** [5, 2] */
const TABLE = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

/** A built layer of five tokens with known weights. */
function withTable(args: Partial<TiedEmbeddingArgs> = {}, weights: tf.Tensor[] = [tf.tensor2d(TABLE, [5, 2])]): TiedEmbedding {
  const layer = tiedEmbedding({ inputDim: 5, outputDim: 2, ...args });
  layer.apply(input({ shape: [3] }));
  layer.setWeights(weights);
  return layer;
}

const numbers = async (x: tf.Tensor) => Array.from(await x.data());

describe('tiedEmbedding', () => {
  it.each(['int32', 'float32'] as const)('looks %s ids of any shape up in its table', async (dtype) => {
    const vectors = withTable().apply(tf.tensor3d([4, 0, 0, 2], [1, 2, 2], dtype)) as tf.Tensor;
    expect(vectors.shape).toEqual([1, 2, 2, 2]);
    expect(await numbers(vectors)).toEqual([9, 10, 1, 2, 1, 2, 5, 6]);
  });

  it('multiplies by the kernel where the table is factorised', async () => {
    const layer = withTable({ outputDim: 3, factorDim: 2 }, [tf.tensor2d(TABLE, [5, 2]), tf.tensor2d([1, 0, 2, 0, 1, -1], [2, 3])]);
    expect(await numbers(layer.apply(tf.tensor2d([[1]], [1, 1])) as tf.Tensor)).toEqual([3, 4, 3 * 2 - 4]);
    expect(layer.countParams()).toBe(10 + 6);
    expect(layer.weights.map(({ originalName }) => originalName.split('/').at(-1))).toEqual(['embeddings', 'kernel']);
  });

  it('equals a stock embedding with the same weights, also in the gradient', async () => {
    const ids = seededIntegers([6, 3], 1, 5);
    const gradients = [];
    for (const layer of [withTable(), layers.embedding({ inputDim: 5, outputDim: 2, weights: [tf.tensor2d(TABLE, [5, 2])] })]) {
      if (tf.getBackend() === 'wasm' && !(layer instanceof TiedEmbedding)) continue; // stock wasm has no gradient of gather
      const direction = seeded([6, 3, 2], 2);
      layer.apply(ids);
      const { value, grads } = tf.variableGrads(() => tf.sum(tf.mul(layer.apply(ids) as tf.Tensor, direction)) as tf.Scalar);
      gradients.push([...(await numbers(value)), ...(await numbers(Object.values(grads)[0]))]);
    }
    if (gradients.length === 2) expectNear('value and gradient', gradients[0], gradients[1], 1e-5);
  });

  it('is the first layer of a Sequential without an input shape, as the host’s embedding is', () => {
    expect(sequential({ layers: [tiedEmbedding({ inputDim: 5, outputDim: 2 })] }).outputs[0].shape).toEqual([null, null, 2]);
  });

  it('puts out the table, and with factors the kernel, where asked to, and no tensor leaks', async () => {
    const x = input({ shape: [3] });
    const layer = withTable({ outputDim: 3, factorDim: 2, outputTable: true }, [tf.tensor2d(TABLE, [5, 2]), tf.ones([2, 3])]);
    const outputs = layer.apply(x) as SymbolicTensor[];
    expect(outputs.map(({ shape }) => shape)).toEqual([[null, 3, 3], [5, 2], [2, 3]]);
    const ids = tf.zeros([2, 3]);
    const before = alive();
    tf.tidy(() => {
      const eager = layer.apply(ids) as tf.Tensor[];
      expect(eager.map(({ shape }) => shape)).toEqual([[2, 3, 3], [5, 2], [2, 3]]);
    });
    expect(alive()).toEqual(before);
    expect(await numbers(layer.tie.table)).toEqual(TABLE);
  });

  it('counts its regularizer once, however often it is called, where the host counts each call', async () => {
    const losses = async (layer: layers.Layer) => {
      const [a, b] = [input({ shape: [3] }), input({ shape: [3] })];
      const sum = layers.add().apply([layer.apply(a), layer.apply(b)] as SymbolicTensor[]) as SymbolicTensor;
      const model = functionalModel({ inputs: [a, b], outputs: sum });
      layer.setWeights([tf.ones([5, 2])]);
      return (await Promise.all(model.calculateLosses().map((loss) => loss.data()))).map(([value]) => value);
    };
    const args = { inputDim: 5, outputDim: 2, embeddingsRegularizer: regularizers.l2({ l2: 0.5 }) };
    expect(await losses(layers.embedding(args))).toEqual([5, 5]);
    expect(await losses(tiedEmbedding(args))).toEqual([5]);
  });

  it('adds that loss in every step of training', async () => {
    const model = sequential({ layers: [tiedEmbedding({ inputDim: 5, outputDim: 2, embeddingsInitializer: 'ones', embeddingsRegularizer: regularizers.l2({ l2: 0.5 }) })] });
    model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const { history } = await model.fit(tf.zeros([4, 1]), tf.ones([4, 1, 2]), { epochs: 3, batchSize: 2, verbose: 0 });
    expect(history.loss).toEqual([5, 5, 5]);
  });

  it('refuses ids that are no tokens where it can look for nothing, and takes zeros for them elsewhere', async () => {
    const layer = withTable({ name: 'words' });
    for (const [ids, text] of [[[0, 5, 1], '5 at position 1'], [[0, 1, -1], '-1 at position 2'], [[0.5, 1, 1], '0.5 at position 0'], [[0, NaN, 1], 'NaN at position 1']] as const) {
      const look = () => layer.apply(tf.tensor2d([...ids], [1, 3])) as tf.Tensor;
      if (areTokensChecked()) {
        expect(look).toThrow(`words: token ids must be integers from 0 to 4, got ${text} of the batch. Raise inputDim, or map unknown tokens to an id of their own.`);
      } else {
        expect(await numbers(look())).toEqual(ids.flatMap((id) => ([0, 1, 2, 3, 4].includes(id) ? TABLE.slice(2 * id, 2 * id + 2) : [0, 0])));
      }
    }
    expect(() => layer.apply(tf.tensor2d([[true]], [1, 1], 'bool'))).toThrow('words: token ids must be of dtype int32 or float32, got bool');
  });

  it('says what is wrong with its options', () => {
    const make = (args: object) => () => tiedEmbedding({ inputDim: 5, outputDim: 2, ...args } as TiedEmbeddingArgs);
    expect(() => tiedEmbedding(undefined as never)).toThrow('TiedEmbedding: expected options with inputDim and outputDim, got undefined.');
    expect(make({ inputDim: 0 })).toThrow('TiedEmbedding: inputDim must be an integer ≥ 1, got 0. It is the number of tokens.');
    expect(make({ outputDim: 2.5 })).toThrow('TiedEmbedding: outputDim must be an integer ≥ 1, got 2.5.');
    expect(make({ factorDim: 0 })).toThrow('TiedEmbedding: factorDim must be an integer ≥ 1, got 0. Leave it out for a table without factors.');
    expect(make({ maskZero: 'yes' })).toThrow("TiedEmbedding: maskZero must be true or false, got 'yes'.");
    expect(make({ embeddingsInitializer: 'nobody' })).toThrow('TiedEmbedding: embeddingsInitializer: Unknown initializer: nobody.');
    expect(make({ inputLength: 3 })).toThrow("TiedEmbedding: unknown option 'inputLength'.");
    expect(() => tiedEmbedding({ inputDim: 5, outputDim: 2, name: 'words' }).tie).toThrow('words: the table does not exist before the layer is built.');
    expect(() => tiedEmbedding({ inputDim: 5, outputDim: 2, name: 'words' }).apply([input({ shape: [1] }), input({ shape: [1] })])).toThrow('words: expected one input of token ids, got 2.');
  });
});

describe('the two traps that make the obvious designs of tied weights silently wrong', () => {
  /** One layer for both sides, told which by a call argument, as `ReversibleEmbedding(x, reverse=True)` in Keras. */
  class TrapReversible extends layers.Layer {
    static readonly className = 'TrapReversible';
    private table!: LayerVariable;
    override build(): void {
      this.table = this.addWeight('table', [5, 2], 'float32', { apply: () => tf.tensor2d(TABLE, [5, 2]) } as never);
      this.built = true;
    }
    override apply(inputs: tf.Tensor, kwargs?: object): never {
      this.reverse = (kwargs as { reverse?: boolean } | undefined)?.reverse ?? false;
      return super.apply(inputs, kwargs as never) as never;
    }
    private reverse = false;
    override computeOutputShape([batch, length]: number[]): number[] {
      return [batch, length, this.reverse ? 5 : 2];
    }
    override call(inputs: tf.Tensor | tf.Tensor[], kwargs: { reverse?: boolean }): tf.Tensor {
      const x = [inputs].flat()[0];
      if (kwargs.reverse) return tf.matMul(x, this.table.read() as tf.Tensor2D, false, true);
      return tf.gather(this.table.read(), tf.cast(tf.reshape(x, [x.shape[0], -1]), 'int32'));
    }
  }

  it('call arguments: the host gives the right symbolic shape and does not hand the argument on; ours refuses it', () => {
    const x = input({ shape: [3] });
    const shared = new TrapReversible({});
    const logits = shared.apply(shared.apply(x as never), { reverse: true }) as unknown as SymbolicTensor;
    const model = functionalModel({ inputs: x, outputs: logits });
    expect(model.outputs[0].shape).toEqual([null, 3, 5]);
    expect((model.predict(tf.zeros([1, 3])) as tf.Tensor).shape).not.toEqual([1, 3, 5]);

    expect(() => withTable({ name: 'words' }).apply(input({ shape: [3] }), { reverse: true })).toThrow(
      "words: the call argument 'reverse' would be dropped when the model runs (tfjs-layers hands no call arguments on). For the output side of a tied table use tiedProjection().",
    );
  });

  it('a shared LayerVariable: the host updates it once for each layer that holds it, and saves it twice', async () => {
    let variable: LayerVariable | null = null;
    class TrapShares extends layers.Layer {
      static readonly className = 'TrapShares';
      override build(): void {
        variable ??= this.addWeight('shared', [1], 'float32', { apply: () => tf.ones([1]) } as never);
        if (!this.trainableWeights.includes(variable)) this.trainableWeights = [variable];
        this.built = true;
      }
      override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
        return tf.mul([inputs].flat()[0], variable!.read());
      }
    }
    const x = input({ shape: [1] });
    const both = new TrapShares({}).apply(new TrapShares({}).apply(x)) as SymbolicTensor;
    const model: LayersModel = functionalModel({ inputs: x, outputs: both });
    // w² for x = 1 against 0, in absolute error: the gradient is 2w = 2, a step of 0.05 leads to 0.9.
    model.compile({ optimizer: tf.train.sgd(0.05), loss: (_target: tf.Tensor, y: tf.Tensor) => y });
    await model.fit(tf.ones([1, 1]), tf.zeros([1, 1]), { epochs: 1, verbose: 0 });
    expectNear('the twice updated weight', await variable!.read().data(), [0.8], 1e-6);
    const { weightSpecs } = await savedArtifacts(model);
    expect(weightSpecs).toHaveLength(2);
    await expect(saveAndLoad(model)).rejects.toThrow();
  });
});
