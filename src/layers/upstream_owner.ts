/** Finding the layer upstream that owns what another layer shares: in a Sequential, a functional model, and again on loading and cloning. */
import { layers, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import { layersUpstream, type Layer } from '../host.js';

/** Which kind of layer is looked for, and what an error advises. */
export interface OwnerKind {
  className: string;
  /** Its factory's name. */
  factory: string;
  /** What to do where there is none. */
  fix: string;
  /** How to say which of several is meant. */
  say: (name: string) => string;
  /** Which of them can be found, and what the others do instead. Default: all can. */
  findable?: { holds: (layer: Layer) => boolean; otherwise: string };
}

/** The layer itself or `{name}`, as an option of a layer that refers to it. */
export function checkOwnerOption(who: string, option: string, factory: string, value: { name: string } | null | undefined): { name: string } | null {
  if (value == null) return null;
  if (typeof value.name !== 'string') throw new Error(`${who}: ${option} must be a ${factory} layer or {name: its name}, got ${describe(value)}.`);
  return value;
}

/** The one layer of that kind that `tensor` is computed from, models nested there included, or the one of the wanted name. */
export function findOwner<T extends Layer>(who: string, tensor: SymbolicTensor, wanted: { name: string } | null, kind: OwnerKind): T {
  const upstream = layersUpstream(tensor);
  // By name of the class: another copy of this package in the same page has another class.
  const owners = upstream.filter((layer) => layer.getClassName() === kind.className);
  const meant = wanted === null ? owners : owners.filter((layer) => layer === wanted || (!(wanted instanceof layers.Layer) && layer.name === wanted.name));
  const found = meant.filter((layer) => kind.findable?.holds(layer) ?? true);
  if (found.length === 1) return found[0] as T;
  const names = (list: Layer[]) => list.map(({ name }) => `'${name}'`).join(', ');
  if (found.length > 1) throw new Error(`${who}: its input comes from several ${kind.factory} layers: ${names(found)}. Say which: ${kind.say(found[0].name)}.`);
  if (meant.length > 0) throw new Error(`${who}: ${kind.factory} ${names(meant)} upstream of its input ${kind.findable!.otherwise}. ${kind.fix}`);
  const what = wanted === null ? `no ${kind.factory}` : `no ${kind.factory} '${wanted.name}'`;
  throw new Error(`${who}: there is ${what} upstream of its input (upstream: ${names(upstream)}). ${kind.fix}`);
}
