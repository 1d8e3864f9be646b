/** Decodes hostile files in a thread of its own, which can be ended if one hangs, and counts what each allocates. */
import { parentPort, workerData } from 'node:worker_threads';
import type { io } from '@tensorflow/tfjs-core';
import { encodeModelArtifacts } from '../../../src/compression/container.js';
import { decodeContainer, TEXT_PER_BYTE, tensorLayout, VALUES_PER_BYTE } from '../../../src/compression/container_reader.js';
import { RangeDecoder } from '../../../src/compression/range_coder.js';
import { hostileFile } from './hostile_files.js';

/** What the thread reports: the case that it begins, or the end. */
export type FuzzMessage = { begins: number } | { summary: FuzzSummary };

export interface FuzzSummary {
  cases: number;
  /** How many were refused, and how many were read as some model. */
  refused: number;
  read: number;
  /** Cases that broke a promise, with what they did. */
  broken: string[];
  /** The worst cases, with the size of the file. */
  slowest: { seed: number; milliseconds: number; bytes: number };
  busiest: { seed: number; steps: number; bytes: number };
  hungriest: { seed: number; allocated: number; bytes: number };
}

/** Bytes of all typed arrays made since it was set to 0, views left out. */
let allocated = 0;

/** Counts what typed arrays allocate: the codec makes its memory in no other way. */
function countAllocations(): void {
  const scope = globalThis as unknown as Record<string, new (...args: unknown[]) => ArrayBufferView>;
  for (const name of ['Uint8Array', 'Int8Array', 'Uint16Array', 'Int16Array', 'Uint32Array', 'Int32Array', 'Float32Array', 'Float64Array']) {
    const Original = scope[name];
    scope[name] = new Proxy(Original, {
      construct(target, args) {
        // As the original would make it, or the engine takes each for a class of its own.
        const made = Reflect.construct(target, args) as ArrayBufferView;
        if (!(args[0] instanceof ArrayBuffer)) allocated += made.byteLength;
        return made;
      },
    });
  }
}

/** Steps of the range decoder. */
let steps = 0;

function countSteps(): void {
  const { bit, narrow } = RangeDecoder.prototype;
  RangeDecoder.prototype.bit = function (p) {
    steps++;
    return bit.call(this, p);
  };
  RangeDecoder.prototype.narrow = function (low, high) {
    steps++;
    narrow.call(this, low, high);
  };
}

/** Numbers of the header, for the few weights that a file without bytes could name; and bits of text and of modelled values. */
const CONSTANT_STEPS = 1000;
const STEPS_PER_BYTE = 8 * TEXT_PER_BYTE + 32 * VALUES_PER_BYTE;

/** The tables of the text model, and what is loaded with the module. */
const CONSTANT_BYTES = 6 * 2 ** 20;
/** The result, the indices of a tensor and tables in proportion: 4 + 2 + some bytes a value, 256 values a byte. */
const BYTES_PER_BYTE = 16 * VALUES_PER_BYTE;

function sizeOf({ weightSpecs = [], weightData }: io.ModelArtifacts): number | null {
  // Lengths of strings stand in the stream, not in the specification.
  if (weightSpecs.some(({ dtype }) => dtype === 'string')) return null;
  const declared = weightSpecs.reduce((sum, spec) => sum + tensorLayout(spec, 0).count * tensorLayout(spec, 0).width, 0);
  return declared - ((weightData as ArrayBuffer | undefined)?.byteLength ?? 0);
}

/** What is wrong with how case `seed` was taken; null if nothing. */
function examine(seed: number, summary: FuzzSummary): string | null {
  const { bytes, kind, sealed, original } = hostileFile(seed);
  const who = `case ${seed} (${kind}, ${bytes.length} bytes${sealed ? ', checksum made to fit' : ''})`;
  allocated = 0;
  steps = 0;
  const start = performance.now();
  let artifacts: io.ModelArtifacts | null = null;
  let message = '';
  try {
    artifacts = decodeContainer(bytes);
  } catch (error) {
    message = error instanceof Error ? error.message : `threw ${String(error)}`;
  }
  const milliseconds = performance.now() - start;
  if (milliseconds > summary.slowest.milliseconds) summary.slowest = { seed, milliseconds, bytes: bytes.length };
  if (allocated > summary.hungriest.allocated) summary.hungriest = { seed, allocated, bytes: bytes.length };
  if (steps > summary.busiest.steps) summary.busiest = { seed, steps, bytes: bytes.length };
  if (steps > CONSTANT_STEPS + STEPS_PER_BYTE * bytes.length) return `${who} took ${steps} steps`;
  if (allocated > CONSTANT_BYTES + BYTES_PER_BYTE * bytes.length) return `${who} allocated ${allocated} bytes`;
  if (({} as Record<string, unknown>)['polluted'] !== undefined) return `${who} reached Object.prototype`;
  if (artifacts === null) {
    summary.refused++;
    return /^compressed: these bytes .*\.$/s.test(message) ? null : `${who} threw '${message}'`;
  }
  summary.read++;
  const same = original !== null && bytes.length === original.length && bytes.every((byte, i) => byte === original[i]);
  if (!sealed && !same) return `${who} was read though it is damaged`;
  if ((sizeOf(artifacts) ?? 0) !== 0) return `${who} gave ${sizeOf(artifacts)} bytes of weights less than it declares`;
  // What was read is a model like any other: written again, it is read as the same.
  if (artifacts.weightData !== undefined && !artifacts.weightSpecs!.some(({ dtype }) => dtype === 'string')) {
    const again = decodeContainer(encodeModelArtifacts(artifacts));
    const [a, b] = [artifacts, again].map(({ weightData }) => new Uint8Array(weightData as ArrayBuffer));
    if (a.length !== b.length || a.some((byte, i) => byte !== b[i])) return `${who} is read as something that cannot be written`;
  }
  return null;
}

const { from, to } = workerData as { from: number; to: number };
hostileFile(0);
countAllocations();
countSteps();
const summary: FuzzSummary = {
  cases: to - from, refused: 0, read: 0, broken: [],
  slowest: { seed: -1, milliseconds: 0, bytes: 0 }, busiest: { seed: -1, steps: 0, bytes: 0 }, hungriest: { seed: -1, allocated: 0, bytes: 0 },
}; // prettier-ignore
for (let seed = from; seed < to; seed++) {
  parentPort!.postMessage({ begins: seed } satisfies FuzzMessage);
  const wrong = examine(seed, summary);
  if (wrong !== null) summary.broken.push(wrong);
}
parentPort!.postMessage({ summary } satisfies FuzzMessage);
