/** The options that banked layers share, their checks, and what of them a file holds. */
import type { serialization } from '@tensorflow/tfjs-core';
import { checkChoice, checkNumber, integerAtLeast } from '../checks.js';
import { UPSAMPLINGS, type Upsampling } from './stretch.js';

/**
 * How the K candidates c_k of a layer become its weights: `average` Σ c_k / K; `learnedWeights` Σ α_k c_k; `softmaxWeights` the same with
 * softmax(α), by which layers are grouped; `layerEmbedding` with α = [φ, 1] · P of a learned embedding φ of the layer and the bank's map P.
 */
export type Combination = 'average' | 'learnedWeights' | 'softmaxWeights' | 'layerEmbedding';
export const COMBINATIONS: readonly Combination[] = ['average', 'learnedWeights', 'softmaxWeights', 'layerEmbedding'];

export interface BankedArgs {
  /** Which bank upstream to use, where there are several: the layer, or `{name}`. Default null: the only one, or the one that is an input. */
  bank?: { name: string } | null;
  /** `average`, `learnedWeights`, `softmaxWeights`, `layerEmbedding`: see {@link Combination}. Default 'learnedWeights'. */
  combination?: Combination;
  /** How many windows of the bank are combined, K. Integer ≥ 1. Default 2. */
  candidates?: number;
  /** Where the bank holds fewer numbers than the layer has weights: `interpolation`, from 1/20 of its inputs and outputs on; `repetition`; `mask`. Default 'interpolation'. */
  upsampling?: Upsampling;
  /** Where in the bank the first window begins. Layers of one shape at one place are equal under 'average'. Integer ≥ 0. Default 0. */
  offset?: number;
  /** What the bank's numbers are multiplied by. Default: so that the weights start with the spread that the initializer means. */
  bankScale?: number;
}

export const BANKED_OPTIONS = ['bank', 'combination', 'candidates', 'upsampling', 'offset', 'bankScale'] as const;

export interface BankedOptions {
  readonly combination: Combination;
  readonly candidates: number;
  readonly upsampling: Upsampling;
  readonly offset: number;
  readonly bankScale: number | null;
}

export function checkBankedOptions(who: string, args: BankedArgs): BankedOptions {
  return {
    combination: checkChoice(who, 'combination', args.combination ?? 'learnedWeights', COMBINATIONS),
    candidates: checkNumber(who, 'candidates', args.candidates ?? 2, integerAtLeast(1), 'It is how many windows of the bank are combined.'),
    upsampling: checkChoice(who, 'upsampling', args.upsampling ?? 'interpolation', UPSAMPLINGS),
    offset: checkNumber(who, 'offset', args.offset ?? 0, integerAtLeast(0)),
    bankScale: args.bankScale == null ? null : checkNumber(who, 'bankScale', args.bankScale, { expected: 'a finite number other than 0', holds: (x) => x !== 0 }),
  };
}

/** For `getConfig`: what {@link checkBankedOptions} takes. */
export const bankedConfig = (options: BankedOptions): serialization.ConfigDict => ({ ...options });
