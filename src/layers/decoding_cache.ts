/** What attention layers keep from one step of decoding to the next. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

interface Kept {
  value: Tensor;
  /** What it was computed from. */
  source: object;
  /** Made of one tensor that does not grow. */
  memory: boolean;
}

/** Tensors by the layer that keeps them and by what they are, in the order in which a step comes to them: a layer may be called several times in a step. */
export class DecodingCache {
  /** Number of positions before the present step. */
  position = 0;
  readonly #kept = new Map<object, Map<string, (Kept | undefined)[]>>();
  #turns = new Map<object, Map<string, number>>();

  /** `apart`: layers that see no sequence that grows, for which there is no cache. */
  constructor(readonly apart: ReadonlySet<object> = new Set()) {}

  /** Runs a step over `length` positions. */
  step<T>(length: number, f: () => T): T {
    this.#turns = new Map();
    const result = during(this, f);
    this.position += length;
    return result;
  }

  /** The place of `part` of `owner` for the present call. */
  slot(owner: object, part: string): CacheSlot {
    const turns = entry(this.#turns, owner, () => new Map<string, number>());
    const turn = turns.get(part) ?? 0;
    turns.set(part, turn + 1);
    const places = entry(entry(this.#kept, owner, () => new Map<string, (Kept | undefined)[]>()), part, () => []);
    return new CacheSlot(places, turn);
  }

  /** Puts the sequences of the batch into another order, and leaves out or repeats some: beam search. Memories are forgotten. */
  select(indices: Tensor): void {
    for (const parts of this.#kept.values()) {
      for (const places of parts.values()) {
        places.forEach((place, turn) => {
          if (place?.memory === false) return replace(place, tfc.gather(place.value, indices));
          place?.value.dispose();
          places[turn] = undefined;
        });
      }
    }
  }

  dispose(): void {
    for (const parts of this.#kept.values()) for (const places of parts.values()) for (const place of places) place?.value.dispose();
    this.#kept.clear();
    this.position = 0;
  }
}

class CacheSlot {
  constructor(private readonly places: (Kept | undefined)[], private readonly turn: number) {}

  /** Length of what is kept along `axis`; 0 where nothing is. */
  length(axis: number): number {
    return this.places[this.turn]?.value.shape[axis] ?? 0;
  }

  /** What was kept, and `latest` behind it. */
  extended(latest: Tensor, axis: number, source: Tensor): Tensor {
    const before = this.places[this.turn];
    const value = before === undefined ? tfc.clone(latest) : tfc.concat([before.value, latest], axis);
    return this.#keep(value, source, false);
  }

  /** What was made from this `source` before, or what `make` gives now. */
  from(source: Tensor, make: () => Tensor): Tensor {
    const before = this.places[this.turn];
    if (before?.source !== source.dataId) return this.#keep(tfc.clone(make()), source, true);
    before.memory = true;
    return before.value;
  }

  #keep(value: Tensor, { dataId }: Tensor, memory: boolean): Tensor {
    const place = (this.places[this.turn] ??= { value, source: dataId, memory });
    replace(place, value);
    Object.assign(place, { source: dataId, memory });
    return value;
  }
}

function replace(place: Kept, value: Tensor): void {
  tfc.keep(value);
  if (place.value !== value) place.value.dispose();
  place.value = value;
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

let active: DecodingCache | null = null;

function during<T>(cache: DecodingCache, f: () => T): T {
  const before = active;
  active = cache;
  try {
    return f();
  } finally {
    active = before;
  }
}

/** The cache for `layer` in the step of decoding that is running; null outside of one, and where the layer sees no sequence that grows. */
export const activeCache = (layer: object): DecodingCache | null => (active?.apart.has(layer) ? null : active);
