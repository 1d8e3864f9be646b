/** A model whose layers share one bank as one with a bank for each group of layers. Plummer et al., "Neural Parameter Allocation Search", ICLR 2022. */
import * as tfl from '@tensorflow/tfjs-layers';
import { checkChoice, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import type { BankedLayer } from '../layers/banked_layer.js';
import { COMBINATIONS, type Combination } from '../layers/banked_options.js';
import type { ParameterBank } from '../layers/parameter_bank.js';
import { onOneBank } from './learn_grouping.js';
import type { Edge, LayerNode, ModelConfig } from './rebuild.js';

export interface SplitBankArgs {
  /** Names of the layers of each group, each layer on the bank once: from `learnGrouping`, or of your own. Required. */
  groups: readonly (readonly string[])[];
  /** Numbers in all banks together. Default: as many as the bank has. */
  size?: number;
  /** How the layers combine candidates from now on. Default: as before. */
  combination?: Combination;
  /** How many candidates they combine from now on. Default: as before; all alike for 'layerEmbedding'. */
  candidates?: number;
}

/** One of the new banks. */
export interface BankShare {
  name: string;
  size: number;
  layers: string[];
  /** Weights that those layers make of it. */
  weights: number;
}

export interface SplitModel {
  model: tfl.LayersModel;
  banks: BankShare[];
}

const WHO = 'splitBank';

/**
 * A new, untrained model like the given one, in which each group of layers has a bank of its own, `NAME_group0`, `NAME_group1`, …, of the same
 * options. The budget is shared out in proportion to the weights that the layers of a group make of it. Regularizers and constraints stay;
 * weights start afresh, as the paper trains the grouped network from scratch; the model is not compiled. Works in a Sequential and a functional
 * model, for banks that are inputs of their layers and for banks that pass their input on.
 *
 * ```js
 * const {model, banks} = await splitBank(probe, {groups: [['conv1', 'conv2'], ['dense1']], size: 50000});
 * ```
 *
 * @throws Error if the layers draw from several banks or stand inside of another layer, a layer is in no group or in two, or the budget cannot
 * serve a group.
 */
export async function splitBank(model: tfl.LayersModel, args: SplitBankArgs): Promise<SplitModel> {
  const { bank, layers } = onOneBank(WHO, model);
  if (typeof args !== 'object' || args === null) throw new Error(`${WHO}: expected options with groups, got ${describe(args)}.`);
  checkKeys(WHO, args, ['groups', 'size', 'combination', 'candidates']);
  const hidden = [bank, ...layers].find((layer) => !model.layers.includes(layer));
  if (hidden !== undefined) throw new Error(`${WHO}: '${hidden.name}' stands inside of another model or layer. Split the bank of that one.`);
  const groups = checkedGroups(args.groups, layers);
  const combination = args.combination === undefined ? null : checkChoice(WHO, 'combination', args.combination, COMBINATIONS);
  const candidates = args.candidates === undefined ? null : checkNumber(WHO, 'candidates', args.candidates, integerAtLeast(1));
  const size = checkNumber(WHO, 'size', args.size ?? bank.size, integerAtLeast(groups.length), 'Each bank needs a number at least.');
  const weights = groups.map((names) => layers.filter(({ name }) => names.includes(name)).reduce((sum, layer) => sum + layer.bankedWeights, 0));
  const sizes = shares(size, weights);
  const banks = groups.map((names, g) => ({ name: `${bank.name}_group${g}`, size: sizes[g], layers: names, weights: weights[g] }));
  checkSizes(banks, layers, candidates ?? undefined);
  const taken = banks.find(({ name }) => model.layers.some((layer) => layer.name === name));
  if (taken !== undefined) throw new Error(`${WHO}: the model has a layer '${taken.name}' already. Rename it, or the bank.`);
  const topology = model.toJSON(null, false) as unknown as { config: ModelConfig };
  changeLayers(topology.config.layers, bank, banks, { ...(combination !== null && { combination }), ...(candidates !== null && { candidates }) });
  changeBanks(topology.config, bank, banks);
  return { model: await tfl.models.modelFromJSON(topology as unknown as Parameters<typeof tfl.models.modelFromJSON>[0]), banks };
}

function checkedGroups(groups: unknown, layers: readonly BankedLayer[]): string[][] {
  const lists = Array.isArray(groups) && groups.every((names) => Array.isArray(names) && names.length > 0 && names.every((name) => typeof name === 'string'));
  if (!lists || groups.length === 0) throw new Error(`${WHO}: groups must be lists of names of layers, none empty, got ${describe(groups)}.`);
  const named = (groups as string[][]).flat();
  const all = layers.map(({ name }) => name);
  const unknown = named.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new Error(`${WHO}: there is no layer '${unknown}' on the bank. Layers: ${all.join(', ')}.`);
  const wrong = all.find((name) => named.filter((each) => each === name).length !== 1);
  if (wrong !== undefined) throw new Error(`${WHO}: each layer on the bank must be in one group; '${wrong}' is in ${named.includes(wrong) ? 'two' : 'none'}.`);
  return (groups as string[][]).map((names) => all.filter((name) => names.includes(name)));
}

/** @throws Error where a bank has fewer numbers than a layer of its group needs. */
function checkSizes(banks: readonly BankShare[], layers: readonly BankedLayer[], candidates?: number): void {
  const total = banks.reduce((sum, { weights }) => sum + weights, 0);
  const needs = banks.map((bank) => {
    const needed = layers.filter(({ name }) => bank.layers.includes(name)).map((layer) => ({ layer, least: layer.leastNumbers(candidates) }));
    return { ...bank, ...needed.reduce((most, each) => (each.least > most.least ? each : most)) };
  });
  const small = needs.find(({ size, least }) => size < least);
  if (small === undefined) return;
  // Each bank has one number before the rest is shared out.
  const enough = banks.length + Math.max(...needs.map(({ least, weights }) => Math.ceil(((least - 1) * total) / weights)));
  throw new Error(`${WHO}: the group of '${small.layers.join("', '")}' would get ${small.size} numbers, and '${small.layer.name}' needs ${small.least} at least. With size: ${enough} all groups have enough.`);
}

/** `total` in whole parts in proportion to `weights`, each at least 1. */
function shares(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  const exact = weights.map((weight) => 1 + ((total - weights.length) * weight) / sum);
  const parts = exact.map(Math.floor);
  const byRest = exact.map((_, g) => g).sort((a, b) => (exact[b] % 1) - (exact[a] % 1));
  const left = total - parts.reduce((a, b) => a + b, 0);
  for (const g of byRest.slice(0, left)) parts[g]++;
  return parts;
}

/** New options for the layers, and which bank is theirs: by name where banks pass their input on, else as an input. */
function changeLayers(nodes: LayerNode[], bank: ParameterBank, banks: readonly BankShare[], options: Record<string, unknown>): void {
  for (const share of banks) {
    for (const node of nodes.filter(({ config }) => share.layers.includes(config['name'] as string))) {
      Object.assign(node.config, options, bank.passInput ? { bank: { name: share.name } } : {});
      if (bank.passInput) continue;
      const tensors = usesEmbedding(node) ? [0, 1] : [0];
      node.inbound_nodes = (node.inbound_nodes as Edge[][]).map(([x, [, from]]) => [x, ...tensors.map((tensor): Edge => [share.name, from, tensor, {}])]);
    }
  }
}

// The host writes the choices of options in snake case; those put in here are not.
const usesEmbedding = ({ config }: LayerNode): boolean => ['layerEmbedding', 'layer_embedding'].includes(config['combination'] as string);

/** One node for each new bank in the place of the old one's: side by side, or where they pass their input on one behind the other. */
function changeBanks(config: ModelConfig, bank: ParameterBank, banks: readonly BankShare[]): void {
  const { layers: nodes } = config;
  const at = nodes.findIndex((node) => node.config['name'] === bank.name);
  const old = nodes[at];
  const made = banks.map((share, g) => bankNode(old, nodes, share, g));
  if (bank.passInput) {
    const last = banks[banks.length - 1].name;
    const moved = (edges: Edge[]) => edges.map(([name, ...rest]): Edge => [name === bank.name ? last : name, ...rest]);
    for (const node of nodes) if (node.inbound_nodes !== undefined) node.inbound_nodes = (node.inbound_nodes as Edge[][]).map(moved);
    if (config.output_layers !== undefined) config.output_layers = moved(config.output_layers);
    made.slice(1).forEach((node, g) => {
      delete node.config['batch_input_shape'];
      if (node.inbound_nodes !== undefined) node.inbound_nodes = node.inbound_nodes.map((_, i): Edge[] => [[banks[g].name, i, 0, {}]]);
    });
  } else {
    const reader = nodes.find((node) => (node.inbound_nodes as Edge[][]).flat().some(([name]) => name === bank.name));
    const what = reader !== undefined ? `the layer '${reader.name}'` : config.output_layers!.some(([name]) => name === bank.name) ? 'an output of the model' : null;
    if (what !== null) throw new Error(`${WHO}: the numbers of '${bank.name}' are also read by ${what}, which belongs to no group.`);
  }
  nodes.splice(at, 1, ...made);
}

function bankNode(old: LayerNode, nodes: readonly LayerNode[], { name, size, layers }: BankShare, g: number): LayerNode {
  const config = structuredClone(old.config);
  const embedded = nodes.filter((node) => layers.includes(node.config['name'] as string) && usesEmbedding(node)).map((node) => node.config['candidates'] as number);
  if (new Set(embedded).size > 1) throw new Error(`${WHO}: layers of one group must combine as many candidates with 'layerEmbedding', got ${[...new Set(embedded)].join(' and ')}. Give candidates.`);
  Object.assign(config, { name, size, embedding_candidates: embedded[0] ?? null });
  // Other numbers in each bank.
  const initializer = (config['kernel_initializer'] as { config: Record<string, unknown> }).config;
  for (const seeded of [config, initializer]) if (typeof seeded['seed'] === 'number') seeded['seed'] += g;
  return { class_name: old.class_name, config, ...(old.name !== undefined && { name }), ...(old.inbound_nodes !== undefined && { inbound_nodes: structuredClone(old.inbound_nodes) }) };
}
