/** Checks of what is to be quantised, and when. */
import type { GmmPrior } from '../regularizers/gmm_prior.js';
import { CALIBRATION_STEPS } from '../regularizers/prior_strength.js';

/** @throws Error unless `schedule` is pairs [epoch, share], both increasing, with shares in [0, 1). */
export function checkSchedule(who: string, schedule: unknown): void {
  const valid =
    Array.isArray(schedule) &&
    schedule.every((pair, i) => {
      if (!Array.isArray(pair) || pair.length !== 2) return false;
      const [epoch, share] = pair as number[];
      const [before, less] = i === 0 ? [-1, -1] : (schedule[i - 1] as number[]);
      return Number.isInteger(epoch) && epoch > before && share > less && share >= 0 && share < 1;
    });
  if (!valid) {
    throw new Error(`${who}: incremental must be pairs [epoch, share] with increasing epochs (integers ≥ 0) and increasing shares in [0, 1), e.g. [[30, 0], [35, 0.5]], got ${JSON.stringify(schedule)}.`);
  }
}

/** Says that training ended before these parts of an incremental schedule, and why: they were put off, or their epochs did not come. */
export function warnOfLateParts(who: string, left: readonly (readonly [epoch: number, share: number])[], epoch: number): void {
  if (left.length === 0) return;
  const parts = left.length === 1 ? 'a part' : `${left.length} parts`;
  const why = left[0][0] <= epoch ? 'A mixture had not converged when they were due. Train longer before, or let it learn faster.' : 'Train longer, or give earlier epochs, counted from 0.';
  console.warn(`${who}: training ended with epoch ${epoch}, before ${parts} of incremental (the next from epoch ${left[0][0]}): what was not held yet is quantised at once. ${why}`);
}

/** @throws Error if the mixture took no step, or τ is still being found: the weights have not seen the prior. */
export function checkTrained(who: string, prior: GmmPrior): void {
  if (prior.mixture === null || prior.steps === 0) throw new Error(`${who}: the mixture of gmmPrior '${prior.name}' was never trained. Run model.fit with this callback before quantize().`);
  if (Number.isNaN(prior.tau)) throw new Error(`${who}: training ended before gmmPrior '${prior.name}' had found its tau, so that the weights have not gathered. Train longer (it takes ${CALIBRATION_STEPS} batches), or give tau as a number.`);
}

/** @throws Error if the weights take no more values than the mixture has components. */
export function checkNotQuantized(who: string, prior: GmmPrior, arrays: Float32Array[]): void {
  const count = arrays.reduce((sum, { length }) => sum + length, 0);
  if (count <= 4 * prior.components) return;
  const distinct = new Set<number>();
  for (const array of arrays) {
    for (const value of array) {
      distinct.add(value);
      if (distinct.size > prior.components) return;
    }
  }
  throw new Error(
    `${who}: the ${count} weights of gmmPrior '${prior.name}' are quantised already (${distinct.size} distinct values). ` +
      'Call restore() on the callback that did it, or train further, before quantising again.',
  );
}
