/**
 * Super-resolution by recursive networks beside an untied one of equal depth, each trained for the same processor time: PSNR and SSIM at ×2, ×3
 * and ×4, parameters, and what they make of a picture.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { overrideSettings } from '../common/compression/settings.js';
import { positiveInteger, runVariants, textTable } from '../common/variant_runs.js';
import { generatedImages, readImages, type SuperResolutionData } from './data.js';
import { runVariant } from './job.js';
import { isFinished, parseRecord, RECORD_FORMAT, summarize, type RunRecord } from './record.js';
import { headline, writeReport } from './report.js';
import { GENERATED, LABELS, SETTINGS, VARIANTS, type Settings, type VariantName } from './settings.js';

interface Options {
  data?: string;
  backend?: Backend;
  seeds: number;
  firstSeed: number;
  out: string;
  set: string[];
  resume?: boolean;
  reportOnly?: string;
  json?: boolean;
}

const say = (line: string) => void process.stderr.write(`${line}\n`);

export function command(): Command {
  return new Command('recursive-super-resolution')
    .description('Trains DRRN, its untied twin, DRCN, MemNet and RDN for the same time and compares them. Without --data it makes up its own images.')
    .addOption(new Option('--data <dir>', 'folder with the folders sr-t91 (or T91) and sr-set5 (or Set5) of PNG images').env('TFWS_SR'))
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--seeds <count>', 'repeat with this many seeds and report medians', positiveInteger, 1)
    .option('--first-seed <seed>', 'the first of them', positiveInteger, 1)
    .addOption(new Option('--out <dir>', 'where record and report go').default(defaultOutput('recursive-super-resolution'), 'examples/out/recursive-super-resolution'))
    .option('--set <section.name=value...>', 'change a setting, e.g. training.minutes=30', [])
    .addOption(new Option('--resume', 'go on with the run in --out that Ctrl-C stopped, without repeating what is finished').conflicts(['seeds', 'firstSeed', 'set', 'data']))
    .addOption(new Option('--report-only <record>', 'render the report of a saved record.json again, beside it').conflicts(['seeds', 'firstSeed', 'set', 'resume', 'backend', 'out', 'json']))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action(main);
}

async function main(options: Options): Promise<void> {
  if (options.reportOnly !== undefined) {
    const path = userPath(options.reportOnly);
    return shownReport(parseRecord(readFileSync(path, 'utf8'), path), dirname(path));
  }
  const out = userPath(options.out);
  const path = join(out, 'record.json');
  if (options.resume && !existsSync(path)) throw new Error(`${shownPath(path)}: there is nothing to go on with. Leave --resume out.`);
  const earlier = options.resume ? parseRecord(readFileSync(path, 'utf8'), path) : null;
  const { label } = await useBackend(options.backend, say);
  const directory = earlier === null ? (options.data === undefined ? null : userPath(options.data)) : earlier.directory;
  const settings = earlier?.settings ?? (overrideSettings((directory === null ? GENERATED : SETTINGS) as never, options.set) as unknown as Settings);
  const data = directory === null ? generatedImages(settings.data.heldOut) : readImages(directory, settings.data.heldOut);
  const record = earlier ?? newRecord(options, data, directory, label, settings);
  say(`${data.origin}: ${data.train.length} images to train, ${data.heldOut.length} held out, ${data.test.length} to test; ${settings.training.minutes} minutes of processor time for each network. Backend: ${label}.`);
  mkdirSync(out, { recursive: true });
  const save = () => writeFileSync(path, JSON.stringify(record));
  const run = (variant: VariantName, seed: number, watch: InterruptWatch) => runVariant({ data, settings: record.settings, watch }, variant, seed);
  if (!(await runVariants(record, VARIANTS, { say, save, run }))) {
    const again = ['npm run example -- recursive-super-resolution --resume', ...(options.out === defaultOutput('recursive-super-resolution') ? [] : [`--out ${options.out}`])].join(' ');
    say(`Stopped; what is finished is saved. Go on with: ${again}`);
    process.exitCode = 130;
    return;
  }
  say(summaryText(record));
  shownReport(record, out);
  if (options.json) console.log(JSON.stringify(summarize(record)));
}

function newRecord(options: Options, data: SuperResolutionData, directory: string | null, backend: string, settings: Settings): RunRecord {
  const { origin, train, heldOut, test } = data;
  return {
    format: RECORD_FORMAT,
    data: { origin, train: train.length, heldOut: heldOut.length, test: test.length },
    directory,
    backend,
    settings,
    seeds: Array.from({ length: options.seeds }, (_, i) => options.firstSeed + i),
    runs: [],
  };
}

function shownReport(record: RunRecord, directory: string): void {
  if (!isFinished(record)) throw new Error(`recursive-super-resolution: the record holds ${record.runs.length} of ${VARIANTS.length * record.seeds.length} runs. Finish it with --resume first.`);
  const files = writeReport(record, directory);
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
}

function summaryText(record: RunRecord): string {
  const rows = [['network', 'seed', 'parameters', 'steps', '×2', '×3', '×4'], ...record.runs.map((run) =>
    [LABELS[run.variant], `${run.seed}`, `${run.parameters}`, `${run.steps}`, ...run.scales.map(({ network }) => network.psnr.toFixed(2))])]; // prettier-ignore
  return `\n${headline(record)}\n\n${textTable(rows)}\n`;
}
