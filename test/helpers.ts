/** Small helpers shared by suites. */

/** Whether this backend keeps tensors elsewhere: reading one inside a step is impossible (webgpu) or stalls (webgl), and here every step is slow. */
export const onGpu = ['webgl', 'webgpu'].includes(process.env.TFWS_BACKEND ?? '');

/** Whether this is a page: there GPUs are looked after by themselves, and what stands in for them elsewhere need not run. */
export const inPage = 'document' in globalThis;

/** max|a − b| / max|b|: the measure of error for arrays whose entries differ in size. */
export function relativeError(got: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (got.length !== reference.length) throw new Error(`lengths differ: ${got.length} and ${reference.length}`);
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < reference.length; i++) {
    // NaN must not pass as small.
    difference = Math.max(difference, Number.isNaN(got[i]) ? Infinity : Math.abs(got[i] - reference[i]));
    scale = Math.max(scale, Math.abs(reference[i]));
  }
  return difference / scale;
}

/** mulberry32: uniform numbers in [0, 1) from a seed. */
export function seededUniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Standard normal numbers from a seed (Box–Muller). */
export function seededNormal(seed: number): () => number {
  const uniform = seededUniform(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
