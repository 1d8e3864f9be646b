/**
 * Which settings are worth it: compresses one trained network with every combination of some settings, in worker processes, and
 * draws held-out error against ratio with the Pareto curve. Finished trials are files; the same command goes on where it ended.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { BACKENDS, type Backend } from '../common/backend.js';
import { readDataSet } from '../common/compression/data.js';
import { positiveInteger } from '../common/variant_runs.js';
import { overrideSettings } from '../common/compression/settings.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { withProgress } from '../common/progress.js';
import { startPool } from './pool.js';
import { writeSweepReport, type SweepRecord } from './report.js';
import { SUBJECTS } from './subjects.js';
import { paretoFront, planTrials, type Task, type Trial, type TrialResult } from './trials.js';

interface Options {
  example: string;
  data?: string;
  backend?: Backend;
  vary: string[];
  set: string[];
  seeds: number;
  workers: number;
  out: string;
  json?: boolean;
}

const VARIED = ['retraining.tau=[0.005,0.02,0.08]', 'retraining.components=[9,17]', 'retraining.mergeThreshold=[0.5,5]'];

const say = (line: string) => void process.stderr.write(`${line}\n`);

export function command(): Command {
  return new Command('compression-sweep')
    .description('Compresses a network with all combinations of some settings and draws held-out error against ratio. The test images are not read.')
    .addOption(new Option('--example <name>', 'whose network and settings').choices(Object.keys(SUBJECTS)).default('compress-mnist'))
    .addOption(new Option('--data <dir>', 'folder with the four IDX files of MNIST or a set like it; default: drawn digits').env('TFWS_MNIST'))
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--vary <section.name=list...>', 'settings to vary, each with a JSON list of its values', VARIED)
    .option('--set <section.name=value...>', 'settings to change in all trials', [])
    .option('--seeds <count>', 'repeat every combination with this many seeds', positiveInteger, 1)
    .option('--workers <count>', 'processes that run trials at the same time', positiveInteger, 2)
    .addOption(new Option('--out <dir>', 'where trials and the report go').default(defaultOutput('compression-sweep'), 'examples/out/compression-sweep'))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action(main);
}

async function main(options: Options): Promise<void> {
  const out = userPath(options.out);
  mkdirSync(out, { recursive: true });
  const data = options.data === undefined ? null : userPath(options.data);
  const { origin } = readDataSet(data);
  const { network, settings } = SUBJECTS[options.example];
  const base = overrideSettings(data === null ? settings.rendered : settings.idx, options.set);
  const trials = planTrials({ example: options.example, origin, base, vary: options.vary, seeds: options.seeds });
  await runTrials(trials, { example: options.example, data, backend: options.backend, out }, options.workers);

  const results = trials.map(({ id, varied }) => ({ ...readResult(out, id), varied }));
  const record: SweepRecord = { example: options.example, network, origin, vary: options.vary, results };
  const files = writeSweepReport(record, out);
  const front = paretoFront(results).map(({ ratio, quantizedError, fileBytes, varied, seed }) => ({ ratio: Number(ratio.toFixed(2)), error: Number(quantizedError.toFixed(3)), fileBytes, varied, seed }));
  for (const { ratio, error, varied, seed } of front) say(`${ratio.toFixed(1)}×  ${error.toFixed(2)} %  ${varied.join(', ')}, seed ${seed}`);
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  if (options.json) console.log(JSON.stringify({ trials: trials.length, front }));
}

/** Runs what has no result yet; the networks that trials start from first. */
async function runTrials(trials: readonly Trial[], common: Omit<Task, 'kind' | 'trial'>, size: number): Promise<void> {
  const open = trials.filter(({ id }) => !existsSync(resultPath(common.out, id)));
  if (open.length < trials.length) say(`${trials.length - open.length} of ${trials.length} trials were run before.`);
  if (open.length === 0) return;
  const networks = [...new Map(open.map((trial) => [trial.baselineId, trial])).values()];
  const tasks = (kind: Task['kind'], of: readonly Trial[]): Task[] => of.map((trial) => ({ ...common, kind, trial }));
  const pool = startPool(Math.min(size, open.length));
  try {
    let done = 0;
    await withProgress('sweep', networks.length + open.length, 0, async (progress) => {
      const onDone = (task: Task) => progress.update(++done, task.kind === 'baseline' ? 'a network is trained' : describe(readResult(task.out, task.trial.id)));
      await pool.run(tasks('baseline', networks), onDone);
      await pool.run(tasks('trial', open), onDone);
      progress.finish();
    });
  } finally {
    pool.stop();
  }
}

function describe({ varied, seed, quantizedError, ratio }: TrialResult): string {
  return `${[...varied, `seed ${seed}`].join(', ')}: ${quantizedError.toFixed(2)} % at ${ratio.toFixed(1)}×`;
}

function resultPath(out: string, id: string): string {
  return join(out, 'trials', `${id}.json`);
}

function readResult(out: string, id: string): TrialResult {
  return JSON.parse(readFileSync(resultPath(out, id), 'utf8')) as TrialResult;
}
