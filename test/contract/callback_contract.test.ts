import * as tf from '@tensorflow/tfjs-core';
import { Callback, callbacks as hostCallbacks, type LayersModel, type Logs } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { callbackChecks, callbackContract, smallNetwork, type CallbackContractArgs } from './callback_contract.js';

describe('the callback contract holds for the host’s EarlyStopping', () =>
  callbackContract({ create: () => hostCallbacks.earlyStopping({ monitor: 'loss', patience: 100 }) }));

/** Logs the number of epochs seen; `flaw` breaks one promise of the contract. */
type Flaw = 'sequentialOnly' | 'noLogs' | 'nan' | 'stopsAll' | 'leakTrain' | 'leakEpoch' | 'identity' | 'once';

let leaked: tf.Tensor[] = [];
/** Models that were built here, not loaded. */
const made = new WeakSet<LayersModel>();

class ContractEpochs extends Callback {
  private epochs = 0;
  private used = false;
  constructor(private readonly owner: LayersModel, private readonly flaw?: Flaw) {
    super();
  }
  private leak(): void {
    leaked.push(tf.keep(tf.scalar(1)));
  }
  override async onTrainBegin(): Promise<void> {
    if (this.flaw === 'once' && this.used) throw new Error('ContractEpochs: was used already. Make a new one.');
    if (this.flaw === 'sequentialOnly' && this.owner.getClassName() !== 'Sequential') throw new Error('ContractEpochs: not a Sequential model');
    if (this.flaw === 'identity' && !made.has(this.owner)) throw new Error('ContractEpochs: this model was loaded');
    if (this.flaw === 'leakTrain') this.leak();
    this.used = true;
  }
  override async onEpochEnd(_epoch: number, logs?: Logs): Promise<void> {
    this.epochs++;
    if (this.flaw === 'leakEpoch') this.leak();
    if (this.flaw === 'stopsAll') (this.model as unknown as { stopTraining: boolean }).stopTraining = true;
    if (logs !== undefined && this.flaw !== 'noLogs') logs.epochsSeen = this.flaw === 'nan' ? NaN : this.epochs;
  }
}

describe('each check of the callback contract can fail', () => {
  const spec = (flaw?: Flaw, more: Partial<CallbackContractArgs> = {}): CallbackContractArgs => ({
    create: (owner) => new ContractEpochs(owner, flaw),
    historyKeys: ['epochsSeen'],
    model: (kind) => {
      const model = smallNetwork(kind);
      made.add(model);
      return model;
    },
    ...more,
  });
  const cases: Array<[string, Flaw | undefined, RegExp, Partial<CallbackContractArgs>?]> = [
    ['works with fit of a sequential model and logs into its history', 'noLogs', /lacks 'epochsSeen'/],
    ['works with fit of a functional model and logs into its history', 'sequentialOnly', /not a Sequential model/],
    ['works with fit of a functional model and logs into its history', 'nan', /NaN is a finite number/],
    ['works with fitDataset of a sequential model and logs into its history', 'noLogs', /lacks 'epochsSeen'/],
    ['works with fitDataset of a functional model and logs into its history', 'stopsAll', /one value an epoch/],
    ['composes with EarlyStopping that stands before it', 'stopsAll', /one value an epoch/],
    ['composes with EarlyStopping that stands after it', 'stopsAll', /one value an epoch/],
    ['leaves no tensor behind, however many epochs', 'leakTrain', /what one more epoch leaves/],
    ['leaves no tensor behind, however many epochs', 'leakEpoch', /what one more epoch leaves/],
    ['works on a model that was saved and loaded', 'identity', /this model was loaded/],
    ['can be used for a second fit', 'once', /Make a new one/],
    ['says why it cannot be used for a second fit', undefined, /resolved|reject/, { secondFit: /Make a new one/ }],
  ];
  for (const [title, flaw, message, more] of cases) {
    it(`fails where a callback breaks it: ${title} (${flaw ?? 'wrong expectation'})`, async () => {
      const check = callbackChecks(spec(flaw, more))[title];
      expect(check, 'the contract has this check').toBeTypeOf('function');
      await expect((async () => check())()).rejects.toThrow(message);
      tf.dispose(leaked);
      leaked = [];
    });
  }
  it('holds where a second fit is refused with the stated reason', async () => {
    await callbackChecks(spec('once', { secondFit: /Make a new one/ }))['says why it cannot be used for a second fit']();
  });
  describe('and none fails for the same callback unbroken', () => callbackContract(spec()));
});
