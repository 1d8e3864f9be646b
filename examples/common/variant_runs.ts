/** What the examples' commands have in common: the loop over variants and seeds that Ctrl-C stops and --resume takes up, reading a record, options, medians and tables. */
import { InvalidArgumentError } from 'commander';
import { Interrupted, watchInterrupt, type InterruptWatch } from './interrupt.js';

export interface VariantRuns<Run extends { seed: number; variant: string }> {
  seeds: number[];
  runs: Run[];
}

/** Every variant for every seed that `record` lacks, saving after each; false where Ctrl-C stopped it. */
export async function runVariants<Variant extends string, Run extends { seed: number; variant: Variant }>(
  record: VariantRuns<Run>,
  variants: readonly Variant[],
  { say, save, run }: { say: (line: string) => void; save: () => void; run: (variant: Variant, seed: number, watch: InterruptWatch) => Promise<Run> },
): Promise<boolean> {
  const watch = watchInterrupt(say);
  try {
    for (const seed of record.seeds) {
      for (const variant of variants) {
        if (record.runs.some((each) => each.seed === seed && each.variant === variant)) continue;
        record.runs.push(await run(variant, seed, watch));
        save();
      }
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    save();
    return false;
  } finally {
    watch.stop();
  }
  return true;
}

/** Parses a saved record; another file gives an error that says what it should be. */
export function parsedRecord<Saved extends { format: string }>(who: string, format: Saved['format'], text: string, name: string): Saved {
  let record: Saved;
  try {
    record = JSON.parse(text) as Saved;
  } catch (error) {
    throw new Error(`${name}: not JSON (${(error as Error).message}). Expected a record.json that ${who} has written.`, { cause: error });
  }
  if (record?.format !== format) {
    throw new Error(`${name}: expected a record with format '${format}', got '${record?.format}'. Give a record.json that this version of ${who} has written.`);
  }
  return record;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('median: no values.');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** For numeric options of the command line. */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError(`expected an integer ≥ 1, got '${text}'.`);
  return value;
}

/** A table in plain text: the first column to the left, the others to the right. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, j) => Math.max(...rows.map((row) => row[j].length)));
  return rows.map((row) => row.map((cell, j) => (j === 0 ? cell.padEnd(widths[j]) : cell.padStart(widths[j]))).join('  ')).join('\n');
}
