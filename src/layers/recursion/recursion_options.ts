/** What a recursive convolution is made with, checked. */
import type { serialization } from '@tensorflow/tfjs-core';
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, integerAtLeast } from '../../checks.js';
import { activationOf, LAYER_OPTIONS, revivedLayer, serialized, type Activation, type ActivationIdentifier, type Layer, type LayerArgs } from '../../host.js';
import { isLayerPart, type BlockPart } from './block.js';
import { checkShuffle, type ShuffleOptions } from './channels.js';
import type { InnerRegularizer } from '../inner_regularizers.js';
import { CONNECTIONS, type Connection } from './connection.js';
import { CONVOLUTION_OPTIONS, type ConvolutionArgs } from './convolution_unit.js';
import { checkGate, type GateArgs } from './loop_gate.js';
import { READOUTS, type Readout } from './readout.js';

export interface RecursiveConvArgs extends LayerArgs, ConvolutionArgs {
  /** How often the block is applied. Integer ≥ 1. Required. */
  recursions: number;
  /** What one recursion computes: options of convolutions and layers, in order. Default: the one convolution that the other options describe. */
  block?: BlockPart | BlockPart[];
  /** One set of kernels for all recursions; false: one for each, the network of equal depth without sharing. Default true. */
  tied?: boolean;
  /** How the input comes back: `none`, `residual`, `inputSkip`, `dense`. Default 'none'. */
  connection?: Connection;
  /** After the block and what `connection` adds. Default: none. */
  stateActivation?: ActivationIdentifier;
  /** Channel shuffle between recursions, not after the last: a number of groups, or {groups, swapHalves}. Default null. */
  shuffle?: number | ShuffleOptions | null;
  /** Applied to each state that comes out, with one set of weights (DRCN's reconstruction). Default null. */
  head?: BlockPart | BlockPart[] | null;
  /** What comes out: `last`, `sum`, `weighted`, `fusion`, `memory`. Default 'last'. */
  readout?: Readout;
  /** The convolution of `fusion` and `memory`. Default {kernelSize: 1}, for `memory` behind a ReLU, with as many filters as the input has channels. */
  fusion?: ConvolutionArgs | null;
  /** Every state is an output, too, after the readout: for {@link recursiveSupervision}. Default false. */
  everyStep?: boolean;
  /** Each sample's state decides before each recursion but the first whether there is another ({} for the defaults). Default null: all go through all. */
  gate?: GateArgs | null;
  /** Computes the insides of recursions again in the gradient instead of keeping them: memory grows with √recursions, but for states that all come out; time by a third. Default false. */
  checkpoint?: boolean;
  /** Only in saved configs: regularizers put on later, of all convolutions but a single one. */
  innerRegularizers?: InnerRegularizer[] | null;
}

const OWN = ['recursions', 'block', 'tied', 'connection', 'stateActivation', 'shuffle', 'head', 'readout', 'fusion', 'everyStep', 'gate', 'checkpoint'] as const;

export interface RecursionOptions {
  recursions: number;
  block: readonly BlockPart[];
  tied: boolean;
  connection: Connection;
  stateActivation: Activation;
  shuffle: ShuffleOptions | null;
  head: readonly BlockPart[] | null;
  readout: Readout;
  fusion: ConvolutionArgs | null;
  everyStep: boolean;
  gate: Required<GateArgs> | null;
  checkpoint: boolean;
}

/** @throws Error for options that are unknown, out of range or do not go together. */
export function checkRecursion(who: string, args: RecursiveConvArgs): RecursionOptions {
  if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with recursions, got ${describe(args)}.`);
  checkKeys(who, args, [...OWN, 'innerRegularizers', ...CONVOLUTION_OPTIONS, ...LAYER_OPTIONS]);
  const recursions = checkNumber(who, 'recursions', args.recursions, integerAtLeast(1));
  const single = givenOf(args, CONVOLUTION_OPTIONS) as ConvolutionArgs;
  if (args.block !== undefined && Object.keys(single).length > 0) {
    throw new Error(`${who}: with a block, what its convolutions are belongs into the block: move ${Object.keys(single).join(', ')} there.`);
  }
  if (args.block === undefined && single.kernelSize === undefined) throw new Error(`${who}: expected kernelSize, for one convolution, or a block.`);
  const readout = checkChoice(who, 'readout', args.readout ?? 'last', READOUTS);
  if (args.fusion != null && readout !== 'fusion' && readout !== 'memory') throw new Error(`${who}: fusion is for readout 'fusion' or 'memory', got readout '${readout}'.`);
  const gate = checkGate(who, args.gate ?? null);
  const connection = checkChoice(who, 'connection', args.connection ?? 'none', CONNECTIONS);
  if (gate !== null && recursions === 1) throw new Error(`${who}: gate needs at least two recursions: the first is always done. Got recursions 1.`);
  if (gate !== null && connection === 'dense') throw new Error(`${who}: gate does not go with connection 'dense', where a recursion that is left out has no state for the others to see. Use another connection.`);
  const byDefault: ConvolutionArgs = readout === 'memory' ? { kernelSize: 1, preActivation: true, activation: 'relu' } : { kernelSize: 1 };
  return {
    recursions, readout, connection, gate,
    block: partList(who, 'block', args.block ?? single),
    tied: checkBoolean(who, 'tied', args.tied ?? true),
    stateActivation: activationOf(who, 'stateActivation', args.stateActivation),
    shuffle: checkShuffle(who, args.shuffle ?? null),
    head: args.head == null ? null : partList(who, 'head', args.head),
    fusion: readout === 'fusion' || readout === 'memory' ? { ...byDefault, ...args.fusion } : null,
    everyStep: checkBoolean(who, 'everyStep', args.everyStep ?? false),
    checkpoint: checkBoolean(who, 'checkpoint', args.checkpoint ?? false),
  }; // prettier-ignore
}

function partList(who: string, option: string, parts: BlockPart | BlockPart[]): BlockPart[] {
  const list = Array.isArray(parts) ? parts : [parts];
  if (list.length === 0) throw new Error(`${who}: ${option} must not be empty: give options of convolutions, {kernelSize, …}, or layers.`);
  return list;
}

/** The options of `names` that were given. */
const givenOf = (args: object, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(args).filter(([key, value]) => names.includes(key) && value !== undefined));

/** What was given, as a config holds it: objects as `{className, config}`, the rest as it is. */
export function recursionConfig(args: RecursiveConvArgs): serialization.ConfigDict {
  return configOf(givenOf(args, [...OWN, ...CONVOLUTION_OPTIONS])) as serialization.ConfigDict;
}

/** The layers that were given as parts of a block or head. */
export const layersOf = ({ block, head }: Partial<RecursiveConvArgs>): Layer[] => [block, head].flat().filter(isLayerPart);

/** What {@link recursionConfig} made, with the layers in it again. */
export function revivedParts(who: string, config: serialization.ConfigDict, customObjects?: serialization.ConfigDict): serialization.ConfigDict {
  const revived = (part: unknown) => ((part as { className?: string } | null)?.className === undefined ? part : revivedLayer(who, part, customObjects));
  const parts = (value: unknown) => (Array.isArray(value) ? value.map(revived) : revived(value));
  const given = Object.entries(config).map(([key, value]) => [key, key === 'block' || key === 'head' ? parts(value) : value]);
  return Object.fromEntries(given) as serialization.ConfigDict;
}

function configOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(configOf);
  if (isLayerPart(value) || typeof (value as serialization.Serializable | null)?.getClassName === 'function') return serialized(value as serialization.Serializable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined).map(([key, each]) => [key, configOf(each)]));
}
