/** Normalisation layers with weights of their own at each step in depth, while all other weights are shared. */
import { LayerVariable } from '@tensorflow/tfjs-layers';
import { allLayers, initializerOf, type Constraint, type Initializer, type Layer, type Regularizer } from '../../host.js';
import type { LayerWeights } from '../stand_ins.js';

const NORMALIZATIONS = ['LayerNormalization', 'BatchNormalization', 'QuickLayerNormalization', 'GroupNormalization'];
const PARTS = ['gamma', 'beta', 'movingMean', 'movingVariance'] as const;
const snake = { gamma: 'gamma', beta: 'beta', movingMean: 'moving_mean', movingVariance: 'moving_variance' };

export type AddWeight = (name: string, shape: (number | null)[], initializer: Initializer, regularizer: Regularizer | null, trainable: boolean, constraint: Constraint | null) => LayerVariable;

export const normalizationsIn = (layers: readonly Layer[]): Layer[] =>
  allLayers({ layers: [...layers] } as never).filter((layer) => NORMALIZATIONS.includes(layer.getClassName()));

/** The weights of each step, by group: where a group is met first, its layers' own; afterwards new ones, made with `add`. */
export function weightsOfSteps(groups: readonly (readonly Layer[])[], groupOf: readonly number[], add: AddWeight): LayerWeights[][] {
  const met = new Set<number>();
  return groupOf.map((group, step) => {
    if (!met.has(group)) return met.add(group), [];
    return normalizationsIn(groups[group]).map((layer) => ({ layer, weights: copies(layer, step, add) }));
  });
}

function copies(layer: Layer, step: number, add: AddWeight): Record<string, LayerVariable> {
  const open = layer as unknown as Record<string, unknown>;
  const made: Record<string, LayerVariable> = {};
  for (const part of PARTS) {
    const own = open[part];
    if (!(own instanceof LayerVariable)) continue;
    const option = <T>(suffix: string) => (open[`${part}${suffix}`] ?? null) as T | null;
    made[part] = add(`${layer.name}_${snake[part]}_${step}`, own.shape, option<Initializer>('Initializer') ?? initializerOf(layer.name, part, part === 'gamma' ? 'ones' : 'zeros'), option<Regularizer>('Regularizer'), part === 'gamma' || part === 'beta', option<Constraint>('Constraint'));
  }
  return made;
}
