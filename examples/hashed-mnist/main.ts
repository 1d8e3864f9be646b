/**
 * HashedNets on MNIST (Chen et al. 2015, table 1): a network 784-1000-10 whose weights are hashed from 1/2 … 1/64 as many stored ones, by elements
 * and by tiles, beside a dense network with as many parameters.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import { renderedDigits } from '../common/digits.js';
import { countOf, type DataSet } from '../common/images.js';
import { Interrupted, watchInterrupt } from '../common/interrupt.js';
import { readMnist } from '../common/mnist.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { positiveInteger } from '../common/variant_runs.js';
import { isOf, readRecord, RECORD_FORMAT, summarize, variants, writeRecord, type RunRecord } from './record.js';
import { headline, summaryText, writeReport } from './report.js';
import { MNIST_SETTINGS, RENDERED_COUNTS, RENDERED_SETTINGS, type Settings } from './settings.js';
import { newBench, runVariant } from './train.js';

interface Options {
  data?: string;
  backend?: Backend;
  seeds?: number;
  compressions?: number[];
  epochs?: number;
  out: string;
  resume?: boolean;
  reportOnly?: string;
  json?: boolean;
}

const say = (line: string) => void process.stderr.write(`${line}\n`);

export function command(): Command {
  return new Command('hashed-mnist')
    .description('Trains hashed networks of 1/2 … 1/64 the weights beside dense ones of the same size. Without --data it draws its own digits.')
    .addOption(new Option('--data <dir>', 'folder with the four IDX files of MNIST, gzipped or not').env('TFWS_MNIST'))
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--seeds <count>', 'repeat with this many seeds (default: 3 with --data, else 1)', positiveInteger)
    .option('--compressions <list>', 'e.g. 8,64', numberList)
    .option('--epochs <count>', 'for each network', positiveInteger)
    .addOption(new Option('--out <dir>', 'where record and report go').default(defaultOutput('hashed-mnist'), 'examples/out/hashed-mnist'))
    .addOption(new Option('--resume', 'go on with the run in --out: what is trained already is kept').conflicts(['compressions', 'epochs']))
    .addOption(new Option('--report-only <record>', 'render the report of a saved record.json again, beside it').conflicts(['resume', 'backend', 'out', 'json', 'seeds', 'compressions', 'epochs']))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action(main);
}

async function main(options: Options): Promise<void> {
  if (options.reportOnly !== undefined) {
    const path = userPath(options.reportOnly);
    const files = writeReport(readRecord(path), dirname(path));
    return say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  }
  const out = userPath(options.out);
  const path = join(out, 'record.json');
  const { label } = await useBackend(options.backend, say);
  const data = dataOf(options);
  const seeds = options.seeds ?? (options.data === undefined ? 1 : 3);
  const record = options.resume ? continued(readRecord(path), data, path) : newRecord(data, label, settingsOf(options));
  mkdirSync(out, { recursive: true });
  if (!(await runAll(record, data, seeds, path))) {
    say(`Stopped; ${record.results.length} networks are done. Go on with --resume and the same --data, --seeds and --out.`);
    process.exitCode = 130;
    return;
  }
  const files = writeReport(record, out);
  say(`\n${headline(record)}\n\n${summaryText(record)}\n`);
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  if (options.json) console.log(JSON.stringify(summarize(record)));
}

/** Trains what `record` does not hold; false where Ctrl-C stopped it. */
async function runAll(record: RunRecord, data: DataSet, seeds: number, path: string): Promise<boolean> {
  const all = variants(record.settings, Array.from({ length: seeds }, (_, i) => i + 1));
  const open = all.filter((variant) => !record.results.some((result) => isOf(result, variant)));
  say(`${data.origin}: ${countOf(data.train)} images to train, ${countOf(data.validation)} held out, ${countOf(data.test)} to test. ${open.length} of ${all.length} networks to train. Backend: ${record.backend}.`);
  const bench = newBench(data);
  const watch = watchInterrupt(say);
  try {
    for (const variant of open) {
      record.results.push(await runVariant(bench, record.settings, variant, watch));
      writeRecord(record, path);
    }
    return true;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return false;
  } finally {
    watch.stop();
  }
}

function newRecord(data: DataSet, backend: string, settings: Settings): RunRecord {
  const counts = { train: countOf(data.train), validation: countOf(data.validation), test: countOf(data.test) };
  return { format: RECORD_FORMAT, data: { origin: data.origin, ...counts }, backend, settings, results: [] };
}

function continued(record: RunRecord, data: DataSet, path: string): RunRecord {
  if (record.data.origin === data.origin && record.data.train === countOf(data.train)) return record;
  throw new Error(`--resume: ${path} is of ${record.data.origin} (${record.data.train} images), and this run of ${data.origin} (${countOf(data.train)}). Give the same --data.`);
}

function dataOf({ data }: Options): DataSet {
  if (data !== undefined) return readMnist(userPath(data));
  say('Drawing digits (give --data DIR for MNIST).');
  return renderedDigits(RENDERED_COUNTS.train, RENDERED_COUNTS.validation, RENDERED_COUNTS.test);
}

function settingsOf({ data, compressions, epochs }: Options): Settings {
  const settings = data === undefined ? RENDERED_SETTINGS : MNIST_SETTINGS;
  return { ...settings, compressions: compressions ?? settings.compressions, epochs: epochs ?? settings.epochs };
}

function numberList(text: string): number[] {
  const values = text.split(',').map(Number);
  if (!values.every((value) => value >= 1 && Number.isFinite(value))) throw new InvalidArgumentError(`expected numbers ≥ 1 separated by commas, got '${text}'.`);
  return values;
}
