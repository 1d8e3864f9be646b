/** Which networks each part trains. */
import type { SetName } from './data.js';
import type { Part, Settings } from './settings.js';

/** What a network is. */
export type Spec =
  | { part: 'lru'; recursions: number }
  /** K; null: each layer has a kernel of its own. */
  | { part: 'templates'; templates: number | null }
  /** `cost` of the gates; null: all loops always. */
  | { part: 'dynamic'; recursions: number; cost: number | null }
  | { part: 'eigen'; maps: number; layers: number; tied: boolean };

export interface Variant {
  /** Unique in a run, and in its record. */
  key: string;
  set: SetName;
  spec: Spec;
}

/** In the order in which they are trained: part by part, the sets of each one after the other. */
export function variantsOf(settings: Settings, parts: readonly Part[], sets: readonly SetName[]): Variant[] {
  return parts.flatMap((part) => sets.flatMap((set) => specsOf(settings, part).map((spec) => ({ key: `${set}: ${labelOf(spec)}`, set, spec }))));
}

function specsOf(settings: Settings, part: Part): Spec[] {
  switch (part) {
    case 'lru':
      return settings.lru.recursions.map((recursions) => ({ part, recursions }));
    case 'templates':
      return [...settings.templates.templates, null].map((templates) => ({ part, templates }));
    case 'dynamic': {
      const { depths, costs } = settings.dynamic;
      return [...depths.map((recursions) => ({ part, recursions, cost: null })), ...costs.map((cost) => ({ part, recursions: Math.max(...depths), cost }))];
    }
    case 'eigen': {
      const { maps, layers } = settings.eigen;
      // One layer is tied and untied at once.
      return maps.flatMap((m) => layers.flatMap((l) => (l === 1 ? [true] : [true, false]).map((tied) => ({ part, maps: m, layers: l, tied }))));
    }
  }
}

export function labelOf(spec: Spec): string {
  switch (spec.part) {
    case 'lru':
      return `LruNet, N = ${spec.recursions}`;
    case 'templates':
      return spec.templates === null ? 'unshared' : `K = ${spec.templates}`;
    case 'dynamic':
      return spec.cost === null ? `${spec.recursions} loops` : `gates up to ${spec.recursions}, cost ${spec.cost}`;
    case 'eigen':
      return `${spec.maps} maps, ${spec.layers} layers${spec.layers === 1 ? '' : spec.tied ? ' tied' : ' untied'}`;
  }
}
