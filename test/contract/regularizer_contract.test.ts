import * as tf from '@tensorflow/tfjs-core';
import { regularizers } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { checkKeys } from '../../src/checks.js';
import { regularizerChecks, regularizerContract, type RegularizerContractArgs } from './regularizer_contract.js';

describe('the regularizer contract holds for the host’s L1L2', () =>
  regularizerContract({
    name: 'L1L2',
    create: (args: { l1: number; l2: number }) => regularizers.l1l2(args),
    args: { l1: 0.25, l2: 0.75 },
    energy: (weights) => weights.reduce((sum, weight) => weight.reduce((part, w) => part + 0.25 * Math.abs(w) + 0.75 * w * w, sum), 0),
    layerUsedTwice: 'twice',
    rejectsUnknownOptions: false,
  }));

const Base = Object.getPrototypeOf(regularizers.l2().constructor) as abstract new () => ReturnType<typeof regularizers.l2>;

/** strength·Σ√(w² + 1e-6); `flaw` breaks one promise of the contract. */
type Flaw = 'energy' | 'gradient' | 'zero' | 'leak' | 'config' | 'state' | 'silent';
interface SmoothArgs { strength?: number; flaw?: Flaw }

let leaked: tf.Tensor[] = [];
let instances = 0;

class ContractSmooth extends Base {
  static readonly className = 'ContractSmooth';
  private readonly strength: number;
  private readonly flaw?: Flaw;
  private readonly instance = ++instances;

  constructor(args: SmoothArgs) {
    super();
    if (args.flaw !== 'silent') checkKeys('ContractSmooth', args, ['strength', 'flaw', 'customObjects']);
    this.strength = args.strength ?? 1;
    this.flaw = args.flaw;
  }
  override apply(w: tf.Tensor): tf.Scalar {
    return tf.tidy(() => {
      if (this.flaw === 'leak') leaked.push(tf.keep(tf.scalar(1)));
      const length = tf.sqrt(tf.add(tf.square(w), this.flaw === 'zero' ? 0 : 1e-6));
      const energy = tf.mul(this.strength, tf.sum(length));
      if (this.flaw === 'energy') return tf.add(energy, 1) as tf.Scalar;
      // The right value with another gradient.
      if (this.flaw === 'gradient') return tf.customGrad((x) => ({ value: tf.clone(energy), gradFunc: (dy: tf.Tensor) => tf.mul(dy, tf.onesLike(x as tf.Tensor)) }))(w) as tf.Scalar;
      return energy as tf.Scalar;
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    if (this.flaw === 'config') return { flaw: this.flaw };
    return { strength: this.flaw === 'state' ? this.strength + this.instance : this.strength, flaw: this.flaw ?? 'none' };
  }
}
tf.serialization.registerClass(ContractSmooth as never);

describe('each check of the regularizer contract can fail', () => {
  const spec = (flaw?: Flaw, more: Partial<RegularizerContractArgs<SmoothArgs>> = {}): RegularizerContractArgs<SmoothArgs> => ({
    name: 'ContractSmooth',
    create: (args) => new ContractSmooth(args),
    args: { strength: 0.5, ...(flaw === undefined ? {} : { flaw }) },
    energy: (weights) => weights.reduce((sum, weight) => weight.reduce((part, w) => part + 0.5 * Math.sqrt(w * w + 1e-6), sum), 0),
    layerUsedTwice: 'twice', ...more,
  });
  const cases: Array<[string, RegularizerContractArgs<SmoothArgs>, RegExp]> = [
    ['comes back from the JSON of a saved model with the same class and config', spec('state'), /config\.strength after loading/],
    ['comes back from the JSON of a saved model with the same class and config', spec(undefined, { name: 'Other' }), /to be 'Other'/],
    ['holds every given argument in its config, under the same name', spec('config'), /config\.strength/],
    ['adds the energy of the reference to the loss, one instance over several layers', spec('energy'), /energy: largest error/],
    ['has the gradient of the reference, by finite differences', spec('gradient'), /gradient: largest error|does not depend/],
    ['has a finite gradient at weights that are all zero', spec('zero'), /finite/],
    ['counts a layer that is used twice once', spec(undefined, { layerUsedTwice: 'once' }), /energy: largest error/],
    ['leaves no tensor behind over 20 steps', spec('leak'), /after 20 more steps/],
    ['adds its energy to the training loss of a sequential model in fit', spec('energy'), /loss of the epoch/],
    ['adds its energy to the training loss of a functional model in fit', spec('energy'), /loss of the epoch/],
    ['names an option that it does not know', spec('silent'), /misspeltOption is an error: expected .* to throw/],
  ];
  for (const [title, broken, message] of cases) {
    it(`fails where a regularizer breaks it: ${title} (${broken.args.flaw ?? 'wrong expectation'})`, async () => {
      const check = regularizerChecks(broken)[title];
      expect(check, 'the contract has this check').toBeTypeOf('function');
      await expect((async () => check())()).rejects.toThrow(message);
      tf.dispose(leaked);
      leaked = [];
    });
  }
  describe('and none fails for the same regularizer unbroken', () => regularizerContract(spec()));
});
