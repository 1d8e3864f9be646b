/**
 * Learning to share (GrOWL, Zhang et al. 2018) on images: which rows of a kernel are zero and which share one value is learned in
 * ordinary training, beside weight decay and the group lasso; on data whose correlated groups are known; and followed by a mixture prior.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import { positiveInteger } from '../common/variant_runs.js';
import { readDataSet } from '../common/compression/data.js';
import { toTensors } from '../common/compression/models.js';
import { countOf, holdOut, selectImages, type DataSet } from '../common/images.js';
import { Interrupted, watchInterrupt, type InterruptWatch } from '../common/interrupt.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { runCorrelated } from './correlated.js';
import { paretoVariants, runPareto } from './pareto.js';
import { isOf, readRecord, RECORD_FORMAT, summarize, writeRecord, type RunRecord } from './record.js';
import { headline, summaryText, writeReport } from './report.js';
import { DRAWN_SETTINGS, METHODS, MNIST_SETTINGS, type Method, type Settings } from './settings.js';
import { runVariant, type Bench } from './train.js';

const PARTS = ['mlp', 'lenet', 'vgg', 'correlated', 'pareto'] as const;
type Part = (typeof PARTS)[number];

interface Options {
  data?: string;
  fashion?: string;
  backend?: Backend;
  seeds?: number;
  firstSeed: number;
  parts?: Part[];
  methods?: Method[];
  out: string;
  resume?: boolean;
  reportOnly?: string;
  json?: boolean;
}

/** One thing to train; it appends its result to the record. */
type Task = (bench: () => Bench) => Promise<void>;

const say = (line: string) => void process.stderr.write(`${line}\n`);

export function command(): Command {
  return new Command('growl-mnist')
    .description('Learns which weights to share, by rows: GrOWL beside weight decay and the group lasso. Without --data it draws its own digits.')
    .addOption(new Option('--data <dir>', 'folder with the four IDX files of MNIST, gzipped or not').env('TFWS_MNIST'))
    .option('--fashion <dir>', 'folder with those of Fashion-MNIST: the VGG-like network is trained on them')
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--seeds <count>', 'repeat 784-300-10 and LeNet with this many seeds (default: 3 with --data, else 1)', positiveInteger)
    .option('--first-seed <seed>', 'the first of them', positiveInteger, 1)
    .option('--parts <list>', `of ${PARTS.join(',')} (default: all that there is data for; without --data mlp,correlated)`, listOf(PARTS))
    .option('--methods <list>', `of ${METHODS.join(',')}: which to train the networks with (default: all)`, listOf(METHODS))
    .addOption(new Option('--out <dir>', 'where models, record and report go').default(defaultOutput('growl-mnist'), 'examples/out/growl-mnist'))
    .option('--resume', 'go on with the run in --out: what is trained already is kept')
    .addOption(new Option('--report-only <record>', 'render the report of a saved record.json again, beside it').conflicts(['resume', 'backend', 'out', 'json', 'seeds', 'firstSeed', 'parts', 'methods']))
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
  const data = readDataSet(options.data === undefined ? null : userPath(options.data));
  const record = options.resume ? continued(readRecord(path), data, path) : newRecord(data, label, options.data === undefined ? DRAWN_SETTINGS : MNIST_SETTINGS);
  // Networks that priors begin with: of this run, not of one before.
  if (!options.resume) rmSync(join(out, 'pareto'), { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  if (!(await runAll(record, data, options, out, path))) {
    say('Stopped; what is trained is saved. Go on with --resume and the same options.');
    process.exitCode = 130;
    return;
  }
  const files = writeReport(record, out);
  say(`\n${headline(record)}\n\n${summaryText(record)}\n`);
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  if (options.json) console.log(JSON.stringify(summarize(record)));
}

/** Trains what `record` does not hold; false where Ctrl-C stopped it. */
async function runAll(record: RunRecord, data: DataSet, options: Options, out: string, path: string): Promise<boolean> {
  const parts = options.parts ?? (options.data === undefined ? ['mlp', 'correlated'] : PARTS.filter((part) => part !== 'vgg' || options.fashion !== undefined));
  const watch = watchInterrupt(say);
  const mnist = lazily(() => newBench(data, out, watch));
  const fashion = lazily(() => newBench(fashionData(options.fashion, record.settings.vggImages), out, watch));
  const count = options.seeds ?? (options.data === undefined ? 1 : 3);
  const tasks = tasksOf(record, parts, options.methods ?? METHODS, Array.from({ length: count }, (_, i) => options.firstSeed + i), watch);
  say(`${data.origin}: ${countOf(data.train)} images to train, ${countOf(data.validation)} held out, ${countOf(data.test)} to test. ${tasks.length} trainings to do. Backend: ${record.backend}.`);
  try {
    for (const { part, run } of tasks) {
      await run(part === 'vgg' ? fashion : mnist);
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

function tasksOf(record: RunRecord, parts: readonly Part[], methods: readonly Method[], seeds: readonly number[], watch: InterruptWatch): { part: Part; run: Task }[] {
  const { settings } = record;
  const tasks: { part: Part; run: Task }[] = [];
  const add = (part: Part, done: boolean, run: Task) => void (!done && parts.includes(part) && tasks.push({ part, run }));
  for (const method of ['groupLasso', 'growl'] as const) {
    add('correlated', record.correlated.some((result) => result.method === method), async () => void record.correlated.push(await runCorrelated(settings.correlated, method, 1, watch)));
  }
  for (const network of ['mlp', 'lenet', 'vgg'] as const) {
    const own = settings.networks[network];
    // Seed by seed, so that a run that is stopped has whole comparisons.
    for (const seed of network === 'vgg' ? [1] : seeds) {
      for (const method of METHODS.filter((name) => methods.includes(name) && own.methods[name] !== undefined)) {
        const variant = { network, method, seed };
        add(network, record.networks.some((result) => isOf(result, variant)), async (bench) => void record.networks.push(await runVariant(bench(), own, variant)));
      }
    }
  }
  for (const variant of paretoVariants(settings.pareto, 1)) {
    const done = record.pareto.some(({ family, strength, tau }) => family === variant.family && strength === variant.strength && tau === variant.tau);
    add('pareto', done, async (bench) => void record.pareto.push(await runPareto(bench(), settings.networks.lenet, settings.pareto, variant)));
  }
  return tasks;
}

function newBench(data: DataSet, out: string, watch: InterruptWatch): Bench {
  return { data, train: toTensors(data.train), validation: toTensors(data.validation), out, watch };
}

function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

/** The same IDX layout as MNIST; a random part of the training images. */
function fashionData(folder: string | undefined, images: number): DataSet {
  if (folder === undefined) throw new Error('--parts vgg: give --fashion DIR, a folder with the four IDX files of Fashion-MNIST.');
  const all = readDataSet(userPath(folder));
  const { heldOut } = images < countOf(all.train) ? holdOut(all.train, images) : { heldOut: selectImages(all.train, Array.from({ length: countOf(all.train) }, (_, i) => i)) };
  return { ...all, origin: 'Fashion-MNIST', train: heldOut };
}

function newRecord(data: DataSet, backend: string, settings: Settings): RunRecord {
  const counts = { train: countOf(data.train), validation: countOf(data.validation), test: countOf(data.test) };
  return { format: RECORD_FORMAT, data: { origin: data.origin, ...counts }, backend, settings, networks: [], correlated: [], pareto: [] };
}

function continued(record: RunRecord, data: DataSet, path: string): RunRecord {
  if (record.data.origin === data.origin && record.data.train === countOf(data.train)) return record;
  throw new Error(`--resume: ${path} is of ${record.data.origin} (${record.data.train} images), and this run of ${data.origin} (${countOf(data.train)}). Give the same --data.`);
}

function listOf<T extends string>(known: readonly T[]): (text: string) => T[] {
  return (text) => {
    const names = text.split(',');
    const unknown = names.find((name) => !known.includes(name as T));
    if (unknown !== undefined) throw new InvalidArgumentError(`expected some of ${known.join(',')}, got '${unknown}'.`);
    return names as T[];
  };
}
