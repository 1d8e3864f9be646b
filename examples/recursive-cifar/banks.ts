/** Networks whose convolutions draw from banks of parameters: one bank, or one for each group of layers, put together at random or as a short training says. */
import * as tfl from '@tensorflow/tfjs-layers';
import type { SymbolicTensor } from '@tensorflow/tfjs-layers';
import { shuffledIndices, type Random } from '../common/random.js';
import { bankedConv2d, learnGrouping, parameterBank, splitBank, type Combination } from './library.js';
import { applied, convolution, halved, normalized, relu, CLASSES } from './parts.js';
import type { Settings } from './settings.js';
import type { BankChoice } from './variants.js';

type Shape = [number, number, number];
type BankSettings = Settings['banks'];

/** Candidates of the short training by which layers are grouped, as published. */
const PROBE_CANDIDATES = 4;

const channelsOf = (widths: readonly number[]): [number, number][] => widths.flatMap((width, i): [number, number][] => [[i === 0 ? widths[0] >> 1 : widths[i - 1], width], [width, width]]);

/** Weights of the convolutions that can share. */
export const sharedWeights = ({ widths }: BankSettings): number => channelsOf(widths).reduce((total, [inputs, outputs]) => total + 9 * inputs * outputs, 0);

interface BankArgs {
  size: number;
  combination: Combination;
  candidates: number;
}

/**
 * A convolution, then two of each of `widths`, the image halved before each pair, a mean over the pixels and ten logits. The pairs draw from a bank;
 * `bank` null: each has a kernel of its own.
 */
export function bankNetwork(bank: BankArgs | null, inputShape: Shape, { widths }: BankSettings): tfl.LayersModel {
  const inputs = tfl.input({ shape: inputShape });
  let h = relu(normalized(applied(convolution(widths[0] >> 1), inputs)));
  const numbers = bank === null ? [] : [parameterBank({ size: bank.size, embeddingCandidates: bank.combination === 'layerEmbedding' ? bank.candidates : null }).apply(h) as SymbolicTensor | SymbolicTensor[]].flat();
  channelsOf(widths).forEach(([, filters], i) => {
    if (i % 2 === 0) h = halved(h);
    const own = { filters, kernelSize: 3, padding: 'same' as const, useBias: false, kernelInitializer: 'heNormal' as const };
    h = relu(normalized(bank === null ? applied(convolution(filters), h) : applied(bankedConv2d({ ...own, combination: bank.combination, candidates: bank.candidates }), [h, ...numbers])));
  });
  const pooled = applied(tfl.layers.globalAveragePooling2d({ dataFormat: 'channelsLast' }), h);
  return tfl.model({ inputs, outputs: applied(tfl.layers.dense({ units: CLASSES }), pooled), name: 'banks' });
}

/** Untrained. `train`: trains a network for so many epochs, for the learned grouping. */
export async function groupedNetwork(
  { budget, combination, grouping }: BankChoice,
  inputShape: Shape,
  settings: BankSettings,
  random: Random,
  train: (probe: tfl.LayersModel, epochs: number) => Promise<void>,
): Promise<tfl.LayersModel> {
  const size = Math.round(sharedWeights(settings) / budget);
  const { candidates, groups, probeEpochs } = settings;
  if (grouping === 'one') return bankNetwork({ size, combination, candidates }, inputShape, settings);
  const probe = bankNetwork({ size, combination: 'softmaxWeights', candidates: PROBE_CANDIDATES }, inputShape, settings);
  try {
    if (grouping === 'learned') await train(probe, probeEpochs);
    const names = probe.layers.filter((layer) => layer.getClassName() === 'BankedConv2D').map(({ name }) => name);
    const chosen = grouping === 'learned' ? (await learnGrouping(probe, { groups })).groups : randomGroups(names, groups, random);
    return (await splitBank(probe, { groups: chosen, size, combination, candidates })).model;
  } finally {
    probe.dispose();
  }
}

/** As even as can be. */
export function randomGroups(names: readonly string[], groups: number, random: Random): string[][] {
  const order = Array.from(shuffledIndices(names.length, random), (i) => names[i]);
  return Array.from({ length: groups }, (_, g) => order.filter((_, i) => i % groups === g));
}
