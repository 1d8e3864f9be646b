/**
 * As much of a WebAssembly assembler as a few loops over float32 vectors need: code is written as nested calls, each of which answers the
 * bytes of an expression, and put into a module with one memory. Opcodes: WebAssembly core specification 2.0, chapter 5.
 */

export type Code = number[];

/** Unsigned and signed LEB128. */
function unsigned(value: number): Code {
  const low = value & 127;
  return value >= 128 ? [low | 128, ...unsigned(Math.floor(value / 128))] : [low];
}
function signed(value: number): Code {
  const [low, rest] = [value & 127, value >> 7];
  return (rest === 0 && low < 64) || (rest === -1 && low >= 64) ? [low] : [low | 128, ...signed(rest)];
}

const I32 = 0x7f;
const V128 = 0x7b;
const vector = (opcode: number): Code => [0xfd, ...unsigned(opcode)];
const ALIGNED_BY_4 = 2;

export const i32 = (value: number): Code => [0x41, ...signed(value)];
export const plus = (...terms: Code[]): Code => terms.reduce((sum, term) => [...sum, ...term, 0x6a]);
export const times = (a: Code, b: Code): Code => [...a, ...b, 0x6c];

/** Four float32 at an address, or one of them four times. */
export const load = (address: Code, offset = 0): Code => [...address, ...vector(0x00), ALIGNED_BY_4, ...unsigned(offset)];
export const splat = (address: Code, offset = 0): Code => [...address, ...vector(0x09), ALIGNED_BY_4, ...unsigned(offset)];
export const store = (address: Code, value: Code, offset = 0): Code => [...address, ...value, ...vector(0x0b), ALIGNED_BY_4, ...unsigned(offset)];
export const add4 = (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe4)];
export const mul4 = (a: Code, b: Code): Code => [...a, ...b, ...vector(0xe6)];
/** All bits set where numbers are equal; bits of both; bits of `a` that are not in `b`. */
export const equal4 = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x41)];
export const and4 = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x4e)];
export const without4 = (a: Code, b: Code): Code => [...a, ...b, ...vector(0x4f)];
export const allBits: Code = [...vector(0x0c), ...new Array<number>(16).fill(255)];
export const zero4: Code = [...vector(0x0c), ...new Array<number>(16).fill(0)];

/** A local variable. */
export interface Local {
  get: Code;
  set(value: Code): Code;
  add(step: Code): Code;
}

/** Hands out the locals of one function: its parameters first. */
export class Locals {
  readonly #types: number[] = [];
  readonly #parameters: number;

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  #at(index: number): Local {
    const get: Code = [0x20, ...unsigned(index)];
    const set = (value: Code): Code => [...value, 0x21, ...unsigned(index)];
    return { get, set, add: (step) => set(plus(get, step)) };
  }

  parameter = (index: number): Local => this.#at(index);
  integer = (): Local => this.#at(this.#parameters + this.#types.push(I32) - 1);
  vector = (): Local => this.#at(this.#parameters + this.#types.push(V128) - 1);

  get declarations(): Code {
    return [...unsigned(this.#types.length), ...this.#types.flatMap((type) => [1, type])];
  }
}

/** Runs `body` `count` times (count ≥ 1; `counter` counts down to 0). */
export const repeat = (counter: Local, count: Code, body: Code): Code => [
  ...counter.set(count),
  0x03, 0x40, // loop
  ...body,
  ...counter.add(i32(-1)), ...counter.get, 0x0d, 0x00, // back while it is not 0
  0x0b,
];

/** A function of `parameters` integers without a result. */
export interface FunctionCode {
  name: string;
  parameters: number;
  code: Code;
  locals: Locals;
}

const list = (items: Code[]): Code => [...unsigned(items.length), ...items.flat()];
const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];
const text = (value: string): Code => sized([...value].map((char) => char.charCodeAt(0)));
const section = (id: number, content: Code): Code => [id, ...sized(content)];

/** The bytes of a module that exports these functions and its memory (`memory`, one page at first). */
export function assemble(functions: FunctionCode[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, list(functions.map(({ parameters }) => [0x60, ...list(new Array<Code>(parameters).fill([I32])), 0]))),
    ...section(3, list(functions.map((_, index) => unsigned(index)))),
    ...section(5, list([[0x00, 1]])),
    ...section(7, list([[...text('memory'), 0x02, 0], ...functions.map(({ name }, index) => [...text(name), 0x00, ...unsigned(index)])])),
    ...section(10, list(functions.map(({ locals, code }) => sized([...locals.declarations, ...code, 0x0b])))),
  ]);
}
