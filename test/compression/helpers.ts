/** Seeded numbers, artefacts and reference measures for the tests of `compression/`. */
import type { io } from '@tensorflow/tfjs-core';

/** Numbers in [0, 1) that depend on the seed only (mulberry32). */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Order-0 entropy of all symbols of one array, in bytes. */
export function entropyBytes(symbols: ArrayLike<number>): number {
  const counts = new Map<number, number>();
  for (let i = 0; i < symbols.length; i++) counts.set(symbols[i], (counts.get(symbols[i]) ?? 0) + 1);
  let bits = 0;
  for (const n of counts.values()) bits -= n * Math.log2(n / symbols.length);
  return bits / 8;
}

/** Artefacts without a topology: the tensors alone. */
export function artifactsOf(tensors: Array<{ spec: io.WeightsManifestEntry; bytes: Uint8Array }>): io.ModelArtifacts {
  const weightData = new Uint8Array(tensors.reduce((sum, { bytes }) => sum + bytes.length, 0));
  let offset = 0;
  for (const { bytes } of tensors) {
    weightData.set(bytes, offset);
    offset += bytes.length;
  }
  return { modelTopology: null as unknown as object, weightSpecs: tensors.map(({ spec }) => spec), weightData: weightData.buffer };
}

/** A float32 tensor with its bytes. */
export function float32(name: string, shape: number[], values: ArrayLike<number>): { spec: io.WeightsManifestEntry; bytes: Uint8Array } {
  return { spec: { name, shape, dtype: 'float32' }, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}
