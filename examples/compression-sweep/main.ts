/**
 * Which settings are worth it: compresses one trained network with every combination of some settings, in worker processes, and
 * draws held-out error against ratio with the Pareto curve. Finished trials are files; the same command goes on where it ended.
 */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import { readDataSet } from '../common/compression/data.js';
import { positiveInteger } from '../common/variant_runs.js';
import { overrideSettings } from '../common/compression/settings.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { writeSweepReport, type SweepRecord } from './report.js';
import { runTrials, trialName } from './run.js';
import { SUBJECTS } from './subjects.js';
import { hashOf, paretoFront, planTrials } from './trials.js';

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

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));
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
  const images = readDataSet(data);
  const { backend } = await useBackend(options.backend, say);
  const { example } = options;
  const { network, settings } = SUBJECTS[example];
  const base = overrideSettings(data === null ? settings.rendered : settings.idx, options.set);
  const trials = planTrials({ example, dataHash: hashOf(images), backend, base, vary: options.vary, seeds: options.seeds });
  const { results, failures } = await runTrials(trials, { example, data, backend, out, workers: options.workers, script: WORKER }, say);
  const toSay = `compression-sweep: ${failures.length} of ${trials.length} trials failed; the same command tries them again.`;
  if (results.length === 0) throw new Error(toSay);

  const record: SweepRecord = { example, network, origin: images.origin, backend, vary: options.vary, results, failures };
  const files = writeSweepReport(record, out);
  const front = paretoFront(results).map(({ ratio, quantizedError, fileBytes, varied, seed }) => ({ ratio: Number(ratio.toFixed(2)), error: Number(quantizedError.toFixed(3)), fileBytes, varied, seed }));
  for (const trial of front) say(`${trial.ratio.toFixed(1)}×  ${trial.error.toFixed(2)} %  ${trialName(trial)}`);
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  if (options.json) console.log(JSON.stringify({ trials: trials.length, failed: failures.length, front }));
  if (failures.length > 0) throw new Error(toSay);
}
