/** What of a model sees the sequence that is decoded step by step, and what does not. */
import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs-layers';
import { allLayers, isModel, type Layer } from '../host.js';
import { MultiHeadAttention } from './multi_head_attention.js';

/** A layer, what it is applied to, and of each of these the inputs of the model whose positions are its own. */
interface Call {
  layer: Layer;
  inputs: SymbolicTensor[];
  positions: Set<number>[];
}

export interface DecodingGraph {
  /** Layers, those inside of others too, that are applied to what does not grow: memories, and whatever is inside of single positions. */
  apart: Set<Layer>;
  /** Layers that are applied to both. */
  both: Set<Layer>;
  /** Attention that looks at all of a sequence that grows. */
  looksAhead: MultiHeadAttention | null;
}

const inside = (layer: Layer): Layer[] => allLayers({ layers: [layer] } as unknown as LayersModel);
const attentionIn = (layer: Layer): MultiHeadAttention[] => inside(layer).filter((each) => each instanceof MultiHeadAttention);

/**
 * The first input of `model` grows, and so do others that meet it position by position. What is looked at by attention only, as a memory is, does not.
 */
export function decodingGraph(model: LayersModel): DecodingGraph {
  const calls: Call[] = [];
  const positionsOf = traced(new Map(model.inputs.map((input, i) => [input, new Set([i])])), calls);
  model.outputs.forEach(positionsOf);
  const growing = closed(0, calls.flatMap(({ layer, positions }) => (attentionIn(layer).length > 0 ? [] : [union(positions)])));
  const grows = (positions: Set<number>) => [...positions].some((i) => growing.has(i));
  const [apart, stepped] = [new Set<Layer>(), new Set<Layer>()];
  let looksAhead: MultiHeadAttention | null = null;
  for (const { layer, inputs, positions } of calls) {
    const where = grows(ownPositions(layer, positions)) ? stepped : apart;
    for (const each of inside(layer)) (singly(layer) && each !== layer ? apart : where).add(each);
    // Of several inputs the second is what is looked at.
    if (where === apart || inputs.length < 2 || inputs[1] === inputs[0] || !grows(positions[1]) || singly(layer)) continue;
    looksAhead ??= attentionIn(layer).find(({ causal, mapsInput, maskInput }) => !causal && !mapsInput && !(maskInput && inputs.length === 2)) ?? null;
  }
  return { apart, both: new Set([...apart].filter((layer) => stepped.has(layer))), looksAhead };
}

/** Whether it calls what is inside for each position by itself. */
const singly = (layer: Layer): boolean => layer.getClassName() === 'TimeDistributed';

/** Whose positions those of the output are. */
function ownPositions(layer: Layer, positions: Set<number>[]): Set<number> {
  if (layer instanceof MultiHeadAttention && layer.mapsInput) return positions[1];
  return attentionIn(layer).length > 0 && !singly(layer) ? (positions[0] ?? new Set()) : union(positions);
}

/** The positions of each tensor of a graph from those of its inputs; notes each call of a layer on the way. */
function traced(known: Map<SymbolicTensor, Set<number>>, calls: Call[]): (tensor: SymbolicTensor) => Set<number> {
  const positionsOf = (tensor: SymbolicTensor): Set<number> => {
    const before = known.get(tensor);
    if (before !== undefined) return before;
    const { sourceLayer: layer, inputs } = tensor;
    const positions = inputs.map(positionsOf);
    let found: Set<number>;
    if (isModel(layer)) {
      const { inputs: own, outputs } = layer as LayersModel;
      found = traced(new Map(own.map((input, i) => [input, positions[i]])), calls)(outputs[tensor.outputTensorIndex ?? 0]);
    } else {
      calls.push({ layer, inputs, positions });
      found = ownPositions(layer, positions);
    }
    known.set(tensor, found);
    return found;
  };
  return positionsOf;
}

const union = (sets: readonly Set<number>[]): Set<number> => new Set(sets.flatMap((set) => [...set]));

/** `first` and all that stand with one of them in some set. */
function closed(first: number, sets: readonly Set<number>[]): Set<number> {
  const members = new Set([first]);
  // The set grows while it is walked.
  for (const member of members) for (const set of sets) if (set.has(member)) set.forEach((other) => members.add(other));
  return members;
}
