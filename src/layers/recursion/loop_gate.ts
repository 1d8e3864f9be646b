/**
 * Whether a sample goes through another recursion, decided from its state: the gates of dynamic recursive networks
 * (Guo, Yu, Zhang, Mei & Zhu, Dynamic Recursive Neural Network, CVPR 2019), without noise.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, POSITIVE } from '../../checks.js';
import { initializerOf, variableOf, type Initializer, type LayerVariable } from '../../host.js';
import { lookingOn } from '../../solvers/looking.js';
import type { WeightOwner } from './loop_context.js';

export interface GateArgs {
  /** T of softmax(logits / T), > 0: small is nearly hard. Default 1. */
  temperature?: number;
  /** In training too, decisions are 0 or 1, with the gradient of the softmax. Default true; false: the softmax itself. */
  straightThrough?: boolean;
  /** Factor of the mean share of recursions that samples go through, added to the training loss. ≥ 0. Default 0. */
  cost?: number;
  /** Where looking at decisions is dear (webgl), every how many recursions it is done. Integer ≥ 1. Default 4. */
  lookEvery?: number;
}

export function checkGate(who: string, gate: GateArgs | null): Required<GateArgs> | null {
  if (gate === null) return null;
  if (typeof gate !== 'object') throw new Error(`${who}: gate must be {temperature, straightThrough, cost, lookEvery}, got ${describe(gate)}. Use gate: {} for the defaults.`);
  checkKeys(`${who}: gate`, gate, ['temperature', 'straightThrough', 'cost', 'lookEvery']);
  return {
    temperature: checkNumber(who, 'gate: temperature', gate.temperature ?? 1, POSITIVE),
    straightThrough: checkBoolean(who, 'gate: straightThrough', gate.straightThrough ?? true),
    cost: checkNumber(who, 'gate: cost', gate.cost ?? 0, NON_NEGATIVE),
    lookEvery: checkNumber(who, 'gate: lookEvery', gate.lookEvery ?? 4, integerAtLeast(1)),
  };
}

/** softmax([leave, enter] / T)'s second entry, of logits [batch, 2]: [batch]. */
export const enterProbability = (logits: Tensor2D, temperature: number): Tensor1D =>
  tfc.squeeze(tfc.slice(tfc.softmax(tfc.div(logits, temperature)), [0, 1], [-1, 1]), [1]); // prettier-ignore

/** 1 where p ≥ ½, else 0; no gradient. */
export const hard = (p: Tensor1D): Tensor1D => tfc.cast(tfc.greaterEqual(p, 0.5), 'float32') as Tensor1D;

/** {@link hard}, with the gradient of p itself. */
export const straightThrough = (p: Tensor1D): Tensor1D =>
  tfc.customGrad((given: unknown) => ({ value: hard(given as Tensor1D), gradFunc: (dy: Tensor) => tfc.clone(dy) }) as never)(p) as Tensor1D;

/** a·after + (1 − a)·before for a [batch], which is either exactly where a is 0 or 1. */
export function mixed(a: Tensor1D, after: Tensor, before: Tensor): Tensor {
  const share = tfc.reshape(a, [-1, ...after.shape.slice(1).map(() => 1)]);
  return tfc.add(tfc.mul(share, after), tfc.mul(tfc.sub(1, share), before));
}

/** Whether a batch agrees on going on, as far as one may look. */
export type Agreement = 'all' | 'none' | 'unknown';

/** @param recursion from 0; @param lookEvery where looking is dear. */
export function agreement(entered: Tensor1D, recursion: number, lookEvery: number): Agreement {
  const looking = lookingOn();
  if (looking === 'never' || (looking === 'costly' && recursion % lookEvery !== 0)) return 'unknown';
  const values = entered.dataSync();
  if (values.every((value) => value === 0)) return 'none';
  return values.every((value) => value === 1) ? 'all' : 'unknown';
}

/** A decision before each recursion but the first: the mean of the state over space → [leave, enter], by weights per recursion. */
export class LoopGate {
  readonly options: Required<GateArgs>;
  #kernel!: LayerVariable;
  #bias!: LayerVariable;

  constructor(options: Required<GateArgs>) {
    this.options = options;
  }

  build(who: string, owner: WeightOwner, channels: number, recursions: number): void {
    const gates = recursions - 1;
    this.#kernel = owner.add('gate_kernel', [gates, channels, 2], initializerOf(who, 'gate', 'glorotNormal'));
    // At first samples rather go on.
    this.#bias = owner.add('gate_bias', [gates, 2], { apply: () => tfc.tensor2d(Array.from({ length: gates }, () => [0, 1])) } as unknown as Initializer);
  }

  /** The decision before recursion `recursion` ≥ 1 for states h: in training as the options say, else hard. */
  decide(h: Tensor, recursion: number, training: boolean): Tensor1D {
    const channels = h.shape[h.rank - 1];
    const pooled = tfc.mean(h, h.shape.slice(1, -1).map((_, axis) => axis + 1)) as Tensor2D; // prettier-ignore
    const kernel = tfc.reshape(tfc.slice(variableOf(this.#kernel), [recursion - 1, 0, 0], [1, channels, 2]), [channels, 2]) as Tensor2D;
    const bias = tfc.slice(variableOf(this.#bias), [recursion - 1, 0], [1, 2]);
    const p = enterProbability(tfc.add(tfc.matMul(pooled, kernel), bias) as Tensor2D, this.options.temperature);
    if (!training) return hard(p);
    return this.options.straightThrough ? straightThrough(p) : p;
  }
}
