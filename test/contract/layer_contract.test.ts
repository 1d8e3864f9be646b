import * as tf from '@tensorflow/tfjs-core';
import { layers, regularizers } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { checkKeys } from '../../src/checks.js';
import { layerChecks, layerContract, type LayerContractArgs } from './layer_contract.js';

const denseSpec = {
  create: (args: Parameters<typeof layers.dense>[0]) => layers.dense(args),
  args: {
    units: 3, activation: 'tanh' as const, useBias: true, inputShape: [5],
    kernelInitializer: 'glorotNormal' as const, kernelRegularizer: regularizers.l2({ l2: 0.5 }), name: 'contract_dense',
  },
  inputShape: [5],
  parameters: 18,
  masking: 'passes' as const,
  rejectsUnknownOptions: false,
};

describe('the layer contract holds for the host’s dense layer', () => layerContract(denseSpec));
describe('the layer contract holds for the host’s flatten layer', () =>
  layerContract({ create: layers.flatten, args: { name: 'contract_flatten' }, inputShape: [2, 3], parameters: 0, masking: 'refuses', learningRate: 0, rejectsUnknownOptions: false }));
describe('the layer contract holds for the host’s add layer, which has two inputs', () =>
  layerContract({ create: layers.add, args: { name: 'contract_add' }, inputShape: [[4], [4]], parameters: 0, masking: 'passes', learningRate: 0, rejectsUnknownOptions: false }));

// Stock wasm has no gradient of gather.
if (process.env.TFWS_BACKEND !== 'wasm') {
  describe('the layer contract holds for the host’s embedding, which makes a mask', () =>
    layerContract({
      create: (args: Parameters<typeof layers.embedding>[0]) => layers.embedding(args),
      args: { inputDim: 7, outputDim: 3, maskZero: true, name: 'contract_embedding' },
      inputShape: [4], integers: 7, parameters: 21, masking: (x) => tf.notEqual(x, 0), learningRate: 1, rejectsUnknownOptions: false,
    }));
}

/** y = gain·x with one weight a column; `flaw` breaks one promise of the contract. */
type Flaw = 'config' | 'loses' | 'json' | 'output' | 'shape' | 'leak' | 'mask' | 'frozen' | 'silent';
interface GainArgs { name?: string; start?: number; flaw?: Flaw }

let leaked: tf.Tensor[] = [];
let instances = 0;

class ContractGain extends layers.Layer {
  static readonly className = 'ContractGain';
  private readonly start: number;
  private readonly flaw?: Flaw;
  private readonly instance = ++instances;
  private gain!: ReturnType<layers.Layer['addWeight']>;

  constructor(args: GainArgs) {
    super(args as object);
    // The loader adds `customObjects` and the host's own keys.
    if (args.flaw !== 'silent') checkKeys('ContractGain', args, ['name', 'start', 'flaw', 'trainable', 'dtype', 'batchInputShape', 'customObjects']);
    this.start = args.start ?? 1;
    this.flaw = args.flaw;
    this.supportsMasking = args.flaw !== 'mask';
  }
  override build(inputShape: (number | null)[]): void {
    this.gain = this.addWeight('gain', [inputShape.at(-1) as number], 'float32', { apply: (shape: number[]) => tf.fill(shape, this.start) } as never);
    super.build(inputShape);
  }
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      if (this.flaw === 'leak') leaked.push(tf.keep(tf.scalar(1)));
      const y = tf.mul(x, this.flaw === 'frozen' ? tf.scalar(2) : this.gain.read());
      return this.flaw === 'output' ? tf.add(y, this.instance) : y;
    });
  }
  override computeOutputShape(inputShape: (number | null)[]): (number | null)[] {
    return this.flaw === 'shape' ? [...inputShape, 1] : inputShape;
  }
  override getConfig(): tf.serialization.ConfigDict {
    const config = { ...super.getConfig(), start: this.flaw === 'json' ? this.start + this.instance : this.start, flaw: this.flaw ?? 'none' };
    if (this.flaw === 'config') delete (config as Partial<typeof config>).start;
    if (this.flaw === 'loses') config.start = 0;
    return config as tf.serialization.ConfigDict;
  }
}
tf.serialization.registerClass(ContractGain as never);

describe('each check of the layer contract can fail', () => {
  const spec = (flaw?: Flaw, more: Partial<LayerContractArgs<GainArgs>> = {}): LayerContractArgs<GainArgs> => ({
    create: (args) => new ContractGain(args),
    args: { start: 2, ...(flaw === undefined ? {} : { flaw }), name: `gain_${++instances}` },
    inputShape: [3], parameters: 3, masking: 'passes', ...more,
  });
  const cases: Array<[string, LayerContractArgs<GainArgs>, RegExp]> = [
    ['holds every given argument in its config, under the same name', spec('config'), /lacks 'start'/],
    ['holds every given argument in its config, under the same name', spec('loses'), /config\.start/],
    ['comes back from JSON with the same config', spec('json'), /to match object/],
    ['gives the same outputs after save and load', spec('output'), /output 0 after loading/],
    ['has the same shape symbolically and eagerly', spec('shape'), /shapes of the outputs/],
    ['has the expected number of parameters', spec(undefined, { parameters: 4 }), /expected 3 to be 4/],
    ['lowers the loss in one step of fit', spec('frozen'), /Cannot find a connection between any variable/],
    ['lowers the loss in one step of fit', spec(undefined, { learningRate: 1e4 }), /loss after the step/],
    ['leaves no tensor behind over 20 steps', spec('leak'), /after 20 more steps/],
    ['passes a mask as stated', spec('mask'), /mask/],
    ['refuses a mask as stated', spec(undefined, { masking: 'refuses' }), /computeMask/],
    ['ends a mask as stated', spec(undefined, { masking: 'ends' }), /the mask after the layer/],
    ['makes a mask as stated', spec(undefined, { masking: (x) => tf.notEqual(x, 0) }), /the mask after the layer/],
    ['names an option that it does not know', spec('silent'), /misspeltOption is an error: expected .* to throw/],
  ];
  for (const [title, broken, message] of cases) {
    it(`fails where a layer breaks it: ${title} (${broken.args.flaw ?? 'wrong expectation'})`, async () => {
      const check = layerChecks(broken)[title];
      expect(check, 'the contract has this check').toBeTypeOf('function');
      await expect((async () => check())()).rejects.toThrow(message);
      tf.dispose(leaked);
      leaked = [];
    });
  }
  describe('and none fails for the same layer unbroken', () => layerContract(spec()));
});
