/** What a Universal Transformer is made with, checked. */
import { layers } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, OPEN_UNIT } from '../../checks.js';
import { LAYER_OPTIONS, regularizerOf, type Layer, type LayerArgs, type Regularizer, type RegularizerIdentifier } from '../../host.js';
import { fittingHeads, SHARE } from '../attention_inputs.js';
import type { InnerRegularizer } from '../inner_regularizers.js';
import type { Combination } from './adaptive_computation.js';
import { SIGNALS, type Signal } from './signals.js';

export interface AdaptiveOptions {
  /** How the states of a position are combined. Default 'accumulated'. */
  combine?: Combination;
  /**
   * Start of the halting unit's bias. Default −3: at a probability of 0.05 a step, positions begin deep. With 0 (0.5) or 1 (0.73) most trainings
   * collapse to two steps (arXiv 2604.21999).
   */
  haltingBias?: number;
  /** A position halts when Σp > 1 − ε. Between 0 and 1. Default 0.01. */
  epsilon?: number;
  /** Factor of the ponder cost (mean of steps and remainders) in the training loss. ≥ 0. Default 0.01. */
  ponderWeight?: number;
}

export interface UniversalTransformerArgs extends LayerArgs {
  /** Width of the state, which is that of the input. Integer ≥ 1. Required. */
  units: number;
  /** Heads of attention; they divide `units`. Integer ≥ 1. Required. */
  numHeads: number;
  /** Steps, or with `act` the most of them. Integer ≥ 1. Required. */
  steps: number;
  /** Width inside of the transition. Default 4 · units. */
  hiddenUnits?: number | null;
  /** Whether it is a decoder, with inputs [x, memory] or [x, memory, mask of the memory]: causal, and attending to the memory in each step. Default false. */
  decoder?: boolean;
  /** Whether a position looks at no later one. Default: as `decoder`. */
  causal?: boolean | null;
  /** `dense`: two dense layers; `separableConvolution`: two separable convolutions over time, 3 and 5 wide; or a layer of your own, [batch, time, units] to the same. Default 'dense'. */
  transition?: 'dense' | 'separableConvolution' | Layer;
  /** How a step's result h' becomes the next state, see {@link UniversalTransformer}. Default 'basic'. */
  recurrence?: 'basic' | 'highway' | 'skip' | 'act';
  /** With recurrence 'act'. */
  adaptive?: AdaptiveOptions | null;
  /** What tells positions apart, added before each step. Default 'sinusoidal'. */
  positionSignal?: Signal;
  /** What tells steps apart, added before each step. Default 'sinusoidal'. */
  stepSignal?: Signal;
  /** Positions that a learned `positionSignal` has. Integer ≥ 1; required with it. */
  maxLength?: number | null;
  /** Share left out in training of attention weights and of what attention and transition add. In [0, 1). Default 0. */
  dropout?: number;
  /** Whether the gradient computes the insides of a step again instead of keeping them. Default false. */
  checkpointing?: boolean;
  /** Of every kernel of attention, dense transition and gate; not of the halting unit, whose kernel begins at zero, nor of a transition of your own. */
  kernelRegularizer?: RegularizerIdentifier | null;
  /** What layers inside have otherwise, as `getConfig` tells it after `attachRegularizer`. */
  innerRegularizers?: InnerRegularizer[] | null;
}

const OPTIONS = [
  'units', 'numHeads', 'steps', 'hiddenUnits', 'decoder', 'causal', 'transition', 'recurrence', 'adaptive', 'positionSignal', 'stepSignal', 'maxLength', 'dropout',
  'checkpointing', 'kernelRegularizer', 'innerRegularizers', ...LAYER_OPTIONS,
] as const; // prettier-ignore

export const RECURRENCES = ['basic', 'highway', 'skip', 'act'] as const;

/** The options with defaults; `hiddenUnits` and so on are no longer absent. */
export interface UniversalSettings {
  units: number;
  numHeads: number;
  steps: number;
  hiddenUnits: number;
  decoder: boolean;
  causal: boolean;
  transition: 'dense' | 'separableConvolution' | Layer;
  recurrence: (typeof RECURRENCES)[number];
  adaptive: Required<AdaptiveOptions> | null;
  positionSignal: Signal;
  stepSignal: Signal;
  maxLength: number | null;
  dropout: number;
  checkpointing: boolean;
  kernelRegularizer: Regularizer | null;
}

export function universalSettings(who: string, args: UniversalTransformerArgs): UniversalSettings {
  if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with units, numHeads and steps, got ${describe(args)}.`);
  checkKeys(who, args, OPTIONS);
  const count = (option: 'units' | 'numHeads' | 'steps', fix: string) => checkNumber(who, option, args[option], integerAtLeast(1), fix);
  const [units, numHeads, steps] = [count('units', 'It is the width of the input.'), count('numHeads', 'It is the number of heads.'), count('steps', 'It is the number of steps in depth.')];
  if (units % numHeads !== 0) throw new Error(`${who}: numHeads must divide units, got ${numHeads} heads and ${units} units. Use ${fittingHeads(numHeads, units)} heads.`);
  const decoder = checkBoolean(who, 'decoder', args.decoder ?? false);
  const { transition = 'dense' } = args;
  const recurrence = checkChoice(who, 'recurrence', args.recurrence ?? 'basic', RECURRENCES);
  if (args.adaptive != null && recurrence !== 'act') throw new Error(`${who}: adaptive belongs to recurrence 'act', which is '${recurrence}' here.`);
  const positionSignal = checkChoice(who, 'positionSignal', args.positionSignal ?? 'sinusoidal', SIGNALS);
  if ((positionSignal === 'learned') !== (args.maxLength != null)) {
    throw new Error(`${who}: ${positionSignal === 'learned' ? "positionSignal 'learned' needs maxLength, the longest sequence" : `maxLength belongs to positionSignal 'learned', which is '${positionSignal}' here`}.`);
  }
  return {
    units, numHeads, steps, decoder, recurrence, positionSignal,
    hiddenUnits: checkNumber(who, 'hiddenUnits', args.hiddenUnits ?? 4 * units, integerAtLeast(1)),
    causal: checkBoolean(who, 'causal', args.causal ?? decoder),
    transition: transition instanceof layers.Layer ? transition : checkChoice(who, 'transition (if it is no layer)', transition, ['dense', 'separableConvolution'] as const),
    adaptive: recurrence === 'act' ? checkAdaptive(`${who}: adaptive`, args.adaptive ?? {}) : null,
    stepSignal: checkChoice(who, 'stepSignal', args.stepSignal ?? 'sinusoidal', SIGNALS),
    maxLength: args.maxLength == null ? null : checkNumber(who, 'maxLength', args.maxLength, integerAtLeast(1)),
    dropout: checkNumber(who, 'dropout', args.dropout ?? 0, SHARE),
    checkpointing: checkBoolean(who, 'checkpointing', args.checkpointing ?? false),
    kernelRegularizer: regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer),
  }; // prettier-ignore
}

function checkAdaptive(who: string, { combine = 'accumulated', haltingBias = -3, epsilon = 0.01, ponderWeight = 0.01, ...rest }: AdaptiveOptions): Required<AdaptiveOptions> {
  checkKeys(who, rest, ['combine', 'haltingBias', 'epsilon', 'ponderWeight']);
  return {
    combine: checkChoice(who, 'combine', combine, ['accumulated', 'interpolated']),
    haltingBias: checkNumber(who, 'haltingBias', haltingBias, { expected: 'a finite number', holds: () => true }),
    epsilon: checkNumber(who, 'epsilon', epsilon, OPEN_UNIT),
    ponderWeight: checkNumber(who, 'ponderWeight', ponderWeight, NON_NEGATIVE),
  };
}
