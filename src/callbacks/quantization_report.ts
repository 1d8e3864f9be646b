/** What a quantisation did, and how it is told. */
import type { Merge } from './merge_components.js';

export interface QuantizationReport {
  /** Distinct values that the quantised weights take, summed over the mixtures (0 counts once in each). */
  components: number;
  codebooks: { prior: string; values: number[]; counts: number[]; dropped: number[] }[];
  /** Component indices are those of the prior's mixture. */
  merges: ({ prior: string } & Merge)[];
  layers: { layer: string; weight: string; prior: string; weights: number; nonZero: number; relativeDistance: number }[];
  /** ‖w − q‖ / ‖w‖ over all quantised weights of the worst mixture. */
  relativeDistance: number;
  /** Whether that is within `maxDistance`. */
  converged: boolean;
  /** Whether the weights were put back because it is not. */
  restored: boolean;
  /** `model.evaluate` on `evaluationData`, in the order of `model.metricsNames`. */
  before: number[] | null;
  after: number[] | null;
}

/** Prints merges and distances if `verbose`; warnings always. */
export function tellReport(who: string, report: QuantizationReport, maxDistance: number, verbose: boolean): void {
  if (verbose) {
    const lines = report.merges.map(({ kept, absorbed, divergence }) => `merged components {${kept.join(', ')}} and {${absorbed.join(', ')}} at divergence ${divergence.toPrecision(3)}`);
    lines.push(`${report.components} values remain; weights moved by ${percent(report.relativeDistance, 1)} of their norm`);
    if (report.before && report.after) lines.push(`evaluation before [${report.before.map(short).join(', ')}], after [${report.after.map(short).join(', ')}]`);
    // eslint-disable-next-line no-console
    for (const line of lines) console.log(`${who}: ${line}`);
  }
  const emptied = report.layers.filter(({ nonZero, relativeDistance }) => nonZero === 0 && relativeDistance > 0).map(({ weight }) => weight);
  if (emptied.length > 0 && !report.restored) {
    console.warn(`${who}: quantising set all of ${emptied.join(', ')} to 0. Unless the model works without them, call restore() and leave their layers out (skip), or give them a prior of their own.`);
  }
  if (!report.converged) {
    console.warn(
      `${who}: quantising moved the weights by ${percent(report.relativeDistance, 1)} of their norm (more than ${percent(maxDistance, 0)}): ` +
        'the mixture has not converged and the quantised model may be destroyed. Train longer, or let the mixture learn faster (learningRates, or learning: \'em\'). ' +
        (report.restored ? 'The unquantised weights were put back.' : 'restore() puts the unquantised weights back.'),
    );
  }
}

const short = (value: number): string => value.toPrecision(4);
const percent = (share: number, digits: number): string => `${(100 * share).toFixed(digits)} %`;
