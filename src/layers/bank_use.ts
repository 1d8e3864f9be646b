/** How a layer gets at a bank: the bank's tensors are inputs, `[x, …bank]`, or the bank is upstream and passes its input on. */
import type { Tensor } from '@tensorflow/tfjs-core';
import { SymbolicTensor, type Shape } from '@tensorflow/tfjs-layers';
import type { Layer } from '../host.js';
import { shapeText } from './hashed_inputs.js';
import { checkOwnerOption, findOwner, type OwnerKind } from './upstream_owner.js';

/** What a bank is to the layers that use it. */
export interface Bank extends Layer {
  /** Whether its output is its input, so that it can stand in a Sequential; otherwise its output is `shared`. */
  readonly passInput: boolean;
  /** The tensors that it shares: its variables, not to be disposed of. */
  readonly shared: Tensor[];
  /** Shapes of those. */
  readonly sharedShapes: number[][];
  /** Called once by each layer that begins to use it: how many did before. */
  enlist(): number;
}

/** A tensor that the bank shares or a shape of one. */
export type SymbolicInputs = SymbolicTensor | SymbolicTensor[] | Tensor | Tensor[];

/** The names of what can be a bank of a kind. */
export interface BankKind {
  className: string;
  factory: string;
}

export class BankUse<B extends Bank> {
  readonly #who: string;
  readonly #layer: Layer;
  readonly #kind: OwnerKind;
  readonly #wanted: { name: string } | null;
  /** The bank; null before the layer is applied, and where the bank's tensors come from elsewhere (another model, an input). */
  owner: B | null = null;
  /** How many layers used the bank before this one. */
  place = 0;
  /** Whether the bank's tensors are inputs. */
  #byEdge = false;

  constructor(who: string, layer: Layer, bank: { name: string } | null | undefined, { className, factory }: BankKind) {
    this.#who = who;
    this.#layer = layer;
    this.#wanted = checkOwnerOption(who, 'bank', factory, bank);
    this.#kind = {
      className,
      factory,
      findable: { holds: (each) => (each as B).passInput, otherwise: 'puts out what it shares instead of its input' },
      say: (name) => `bank: {name: '${name}'}`,
      fix: `Give the layer the bank as well, apply([x, bank]), or put ${factory}({…, passInput: true}) before it.`,
    };
  }

  /** To be called by the layer's `apply`, before the host's. */
  onApply(inputs: SymbolicInputs): void {
    const list = [inputs].flat();
    const name = this.#layer.name;
    if (list.some((each) => Array.isArray(each))) throw new Error(`${this.#who}: layer '${name}' takes a flat list of inputs, got a list inside of it. Where the bank has several tensors, spread it: apply([x, ...bank]).`);
    if (!(list[0] instanceof SymbolicTensor)) return;
    const byEdge = list.length > 1;
    if (byEdge && this.#wanted !== null) throw new Error(`${this.#who}: layer '${name}' got both bank: {name: '${this.#wanted.name}'} and a bank as input. Leave one of them out.`);
    const source = byEdge ? (list[1] as SymbolicTensor).sourceLayer : findOwner<B>(`${this.#who} '${name}'`, list[0], this.#wanted, this.#kind);
    const owner = source.getClassName() === this.#kind.className ? (source as B) : null;
    if (this.owner !== null && this.owner !== owner) {
      throw new Error(`${this.#who}: layer '${name}' draws from bank '${this.owner.name}' and cannot be applied with '${source.name}'. Make another layer for that.`);
    }
    this.#byEdge = byEdge;
    if (owner === null || this.owner === owner) return;
    this.owner = owner;
    this.place = owner.enlist();
  }

  /** The shape of the input and those of the bank's tensors. `count` of them, each of a known shape. */
  shapes(inputShape: Shape | Shape[], count: number): { input: Shape; bank: number[][] } {
    const all = (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as Shape[];
    const [input, ...given] = all;
    if (!this.#byEdge && given.length === 0) return { input, bank: this.#found().sharedShapes };
    if (given.length < count || given.some((shape) => shape.includes(null))) {
      throw new Error(`${this.#who}: layer '${this.#layer.name}' takes one input, or [input, bank] with ${count > 1 ? `the ${count} tensors of ` : ''}a bank from ${this.#kind.factory}, got inputs of shapes ${all.map(shapeText).join(' and ')}.`);
    }
    return { input, bank: given as number[][] };
  }

  /** The input and the bank's tensors. */
  tensors(inputs: Tensor | Tensor[]): { input: Tensor; bank: Tensor[] } {
    const [input, ...given] = [inputs].flat();
    return { input, bank: given.length > 0 ? given : this.#found().shared };
  }

  /** For `getConfig`. Under the key `name`, whose value alone the host leaves as it is; and as the bank is called now. */
  config(): { name: string } | null {
    if (this.#byEdge) return null;
    const name = (this.#wanted !== null && this.owner) || this.#wanted;
    return name === null ? null : { name: name.name };
  }

  #found(): B {
    if (this.owner !== null) return this.owner;
    throw new Error(`${this.#who}: layer '${this.#layer.name}' has no bank. Apply it in a model, to [x, bank] or downstream of ${this.#kind.factory}({…, passInput: true}).`);
  }
}
