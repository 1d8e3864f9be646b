/**
 * The command of a compression example: a network is trained, its weights are pulled onto a learned Gaussian mixture, merged,
 * quantised and saved to a small file, loaded again by stock `loadLayersModel`, evaluated, and reported with pictures.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../backend.js';
import { cacheDirectory, downloadFiles, type RemoteFile } from '../download.js';
import { countOf, type DataSet } from '../images.js';
import { Interrupted, watchInterrupt } from '../interrupt.js';
import { MNIST_FILES, MNIST_MIRRORS } from '../mnist.js';
import { defaultOutput, refuseData, shownPath, userPath } from '../paths.js';
import { withProgress } from '../progress.js';
import { positiveInteger, textTable } from '../variant_runs.js';
import { loadCheckpointModel, readCheckpoint, removeCheckpoint, saveCheckpoint, type Checkpoint, type JobOptions } from './checkpoint.js';
import { readDataSet } from './data.js';
import type { CompressionExample } from './example.js';
import { newModel, newSeed, runSeed, type Job } from './job.js';
import { toTensors } from './models.js';
import { RECORD_FORMAT, parseRecord, summarize, type RunRecord, type SeedRecord } from './record.js';
import { headline, writeReport } from './report.js';
import { overrideSettings } from './settings.js';
import { writeSideBySide } from './side_by_side.js';

interface Options {
  data?: string;
  download?: boolean;
  backend?: Backend;
  seeds: number;
  firstSeed: number;
  out: string;
  set: string[];
  comparison: boolean;
  resume?: boolean;
  reportOnly?: string[];
  json?: boolean;
}

/** What a continued run takes from its checkpoint, so that it cannot be given again. */
const RUN_OPTIONS = ['download', 'seeds', 'firstSeed', 'set', 'comparison'];

const say = (line: string) => void process.stderr.write(`${line}\n`);

export function compressionCommand(example: CompressionExample): Command {
  return new Command(example.name)
    .description(example.description)
    .addOption(new Option('--data <dir>', 'folder with the four IDX files of MNIST or a set like it, gzipped or not').env('TFWS_MNIST').conflicts('download'))
    .option('--download', 'fetch MNIST into a cache folder (11 MB, once)')
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--seeds <count>', 'repeat with this many seeds and report medians', positiveInteger, 1)
    .option('--first-seed <seed>', 'the first of them', positiveInteger, 1)
    .addOption(new Option('--out <dir>', 'where models, record and report go').default(defaultOutput(example.name), `examples/out/${example.name}`))
    .option('--set <section.name=value...>', 'change a setting, e.g. retraining.tau=0.01', [])
    .option('--no-comparison', 'leave the other methods out')
    .addOption(new Option('--resume', 'go on with the run in --out that Ctrl-C stopped').conflicts(RUN_OPTIONS))
    .addOption(new Option('--report-only <record...>', 'render the report of a saved record.json again, beside it; of several, also a page that shows them side by side').conflicts([...RUN_OPTIONS, 'resume', 'backend', 'out', 'json']))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action((options: Options, self: Command) => main(example, options, self));
}

async function main(example: CompressionExample, options: Options, self: Command): Promise<void> {
  const out = userPath(options.out);
  refuseData(options, self, ['data']);
  if (options.reportOnly !== undefined) {
    renderAgain(options.reportOnly);
    return;
  }
  const checkpoint = options.resume ? readCheckpoint(out, example.name) : null;
  const jobOptions = checkpoint?.options ?? (await jobOptionsOf(example, options));
  const { label } = await useBackend(options.backend, say);
  if (jobOptions.data === null) say('Drawing digits (give --data DIR or --download for MNIST).');
  const data = readDataSet(jobOptions.data);
  say(`${data.origin}: ${countOf(data.train)} images to train, ${countOf(data.validation)} held out, ${countOf(data.test)} to test. Backend: ${label}.`);
  mkdirSync(out, { recursive: true });

  const record = await runJob(example, jobOptions, data, label, checkpoint, out);
  if (record === null) {
    const again = [`npm run example -- ${example.name} --resume`, ...(options.out === defaultOutput(example.name) ? [] : [`--out ${options.out}`])].join(' ');
    say(`Stopped; the model and all results so far are saved. Go on with: ${again}`);
    process.exitCode = 130;
    return;
  }
  writeFileSync(join(out, 'record.json'), JSON.stringify(record));
  const files = writeReport(record, out);
  removeCheckpoint(out);
  say(summaryText(record));
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  if (options.json) console.log(JSON.stringify(record.summary));
}

/** The report of each record beside it; of several also one page for all, beside the first. */
function renderAgain(names: readonly string[]): void {
  const runs = names.map((name) => ({ name, path: userPath(name) })).map(({ name, path }) => ({ name, path, record: parseRecord(readFileSync(path, 'utf8'), path) }));
  for (const { path, record } of runs) {
    const files = writeReport(record, dirname(path));
    say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  }
  if (runs.length > 1) say(`Side by side: ${shownPath(writeSideBySide(runs, dirname(runs[0].path)))}`);
}

/** All seeds; null where Ctrl-C stopped it, after saving a checkpoint. */
async function runJob(example: CompressionExample, options: JobOptions, data: DataSet, backend: string, checkpoint: Checkpoint | null, out: string): Promise<RunRecord | null> {
  const watch = watchInterrupt(say);
  const { settings, comparison } = options;
  const shape = example.inputShape(data.train.width, data.train.height);
  const job: Job = { example, data, tensors: { train: toTensors(data.train, shape), validation: toTensors(data.validation, shape) }, settings, comparison, out, watch, say };
  const finished: SeedRecord[] = checkpoint?.finished ?? [];
  let state = checkpoint?.current ?? newSeed(options.firstSeed);
  let resumes = checkpoint !== null && state.phase !== 'comparison';
  for (;;) {
    const bench = { model: resumes ? await loadCheckpointModel(out) : newModel(job, state.seed) };
    resumes = false;
    try {
      finished.push(await runSeed(job, state, bench));
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      say('Saving …');
      await saveCheckpoint(out, { options, finished, current: state }, state.phase === 'comparison' ? null : bench.model);
      return null;
    } finally {
      bench.model.dispose();
    }
    if (finished.length >= options.seeds) break;
    state = newSeed(state.seed + 1);
  }
  watch.stop();
  return {
    format: RECORD_FORMAT,
    example: example.name,
    network: example.network,
    data: { origin: data.origin, train: countOf(data.train), validation: countOf(data.validation), test: countOf(data.test) },
    backend,
    settings,
    seeds: finished,
    summary: summarize(finished),
  };
}

async function jobOptionsOf(example: CompressionExample, options: Options): Promise<JobOptions> {
  let data = options.data === undefined ? null : userPath(options.data);
  if (options.download) data = await downloadMnist();
  const settings = overrideSettings(data === null ? example.settings.rendered : example.settings.idx, options.set);
  return { example: example.name, data, seeds: options.seeds, firstSeed: options.firstSeed, comparison: options.comparison, settings };
}

async function downloadMnist(): Promise<string> {
  const directory = cacheDirectory('mnist');
  const total = MNIST_FILES.reduce((sum, { bytes }) => sum + bytes, 0);
  const have = new Map<string, number>();
  const sum = () => [...have.values()].reduce((bytes, n) => bytes + n, 0);
  await withProgress('download', total, 0, async (progress) => {
    const onProgress = ({ file }: RemoteFile, bytes: number) => progress.update(have.set(file, bytes) && sum(), file);
    await downloadFiles({ files: MNIST_FILES, mirrors: MNIST_MIRRORS, directory, onProgress });
    progress.finish(`MNIST is in ${directory}`);
  });
  return directory;
}

function summaryText(record: RunRecord): string {
  const seed = record.seeds[0];
  const rows = [
    ['method', 'test error', 'file bytes', 'ratio'],
    ['none (float32)', `${seed.errors.baseline.test.toFixed(2)} %`, `${4 * seed.parameters}`, '1.0×'],
    ['soft weight sharing', `${seed.errors.quantized.test.toFixed(2)} %`, `${seed.fileBytes}`, `${seed.ratio.toFixed(1)}×`],
    ...seed.comparison.map((c) => [`${c.method} (${c.chosen})`, `${c.testError.toFixed(2)} %`, `${c.fileBytes}`, `${c.ratio.toFixed(1)}×`]),
  ];
  return `\n${headline(record)}\n\nseed ${seed.seed}:\n${textTable(rows)}\n`;
}

