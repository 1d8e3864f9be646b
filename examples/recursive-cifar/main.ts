/**
 * Recursive convolutions and shared kernels on small images, in parts: LruNet by its recursions, convolutions made of few templates, depth by gates, banks
 * of parameters, and layers, maps and parameters varied independently as Eigen et al. did.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import { overrideSettings } from '../common/compression/settings.js';
import { countOf } from '../common/images.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { defaultOutput, refuseData, shownPath, userPath } from '../common/paths.js';
import { positiveInteger, runVariants, textTable } from '../common/variant_runs.js';
import { readSets, type Directories, type SetName } from './data.js';
import { runVariant, type Job } from './job.js';
import { isFinished, parseRecord, plannedOf, RECORD_FORMAT, summarize, type RunRecord, type SetRecord } from './record.js';
import { summaryRows, writeReport } from './report.js';
import { DRAWN, PARTS, SETTINGS, type Part, type Settings } from './settings.js';

interface Options {
  data?: string;
  fashion?: string;
  parts: Part[];
  backend?: Backend;
  seeds: number;
  firstSeed: number;
  epochs?: number;
  out: string;
  set: string[];
  resume?: boolean;
  reportOnly?: string;
  json?: boolean;
}

const say = (line: string) => void process.stderr.write(`${line}\n`);

export function command(): Command {
  const fixed = ['seeds', 'firstSeed', 'set', 'epochs', 'parts'];
  return new Command('recursive-cifar')
    .description('Trains recursive and weight-sharing networks on CIFAR-10 and Fashion-MNIST and compares them. Without --data and --fashion it draws its own digits.')
    .addOption(new Option('--data <dir>', 'folder with CIFAR-10 in its binary layout, or a part of it').env('TFWS_CIFAR'))
    .addOption(new Option('--fashion <dir>', 'folder with the four IDX files of Fashion-MNIST').env('TFWS_FASHION'))
    .option('--parts <list>', `which of ${PARTS.join(',')}`, partList, [...PARTS])
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--seeds <count>', 'repeat with this many seeds and report means', positiveInteger, 1)
    .option('--first-seed <seed>', 'the first of them', positiveInteger, 1)
    .option('--epochs <count>', 'for each network (default: by part)', positiveInteger)
    .addOption(new Option('--out <dir>', 'where record and report go').default(defaultOutput('recursive-cifar'), 'examples/out/recursive-cifar'))
    .option('--set <section.name=value...>', 'change a setting, e.g. lru.recursions=[1,2,4,8,14] or data.train=50000', [])
    .addOption(new Option('--resume', 'go on with the run in --out that Ctrl-C stopped, without repeating what is finished').conflicts(fixed))
    .addOption(new Option('--report-only <record>', 'render the report of a saved record.json again, beside it').conflicts([...fixed, 'resume', 'backend', 'out', 'json']))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action((options: Options, self: Command) => {
      refuseData(options, self, ['data', 'fashion']);
      return main(options);
    });
}

function partList(text: string): Part[] {
  const names = text.split(',');
  const unknown = names.find((name) => !PARTS.includes(name as Part));
  if (unknown !== undefined) throw new InvalidArgumentError(`expected parts separated by commas, of ${PARTS.join(', ')}; got '${unknown}'.`);
  return PARTS.filter((part) => names.includes(part));
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
  const directories = earlier?.directories ?? { cifar: given(options.data), fashion: given(options.fashion) };
  const settings = earlier?.settings ?? settingsOf(options, directories);
  const sets = readSets(directories, settings);
  const counted = Object.fromEntries(Object.entries(sets).map(([name, { origin, train, validation, test }]): [string, SetRecord] => [name, { origin, train: countOf(train), heldOut: countOf(validation), test: countOf(test) }]));
  const seeds = Array.from({ length: options.seeds }, (_, i) => options.firstSeed + i);
  const record: RunRecord = earlier ?? { format: RECORD_FORMAT, parts: options.parts, sets: counted, directories, backend: label, settings, seeds, runs: [] };
  const planned = plannedOf(record);
  say(`${Object.values(counted).map(({ origin, train, heldOut, test }) => `${origin}: ${train} images to train, ${heldOut} held out, ${test} to test`).join('. ')}. ${planned.length * record.seeds.length - record.runs.length} networks to train. Backend: ${label}.`);
  mkdirSync(out, { recursive: true });
  const save = () => {
    writeFileSync(`${path}.part`, JSON.stringify(record));
    renameSync(`${path}.part`, path);
  };
  const teachers: Job['teachers'] = new Map();
  const run = (key: string, seed: number, watch: InterruptWatch) => {
    const variant = planned.find((each) => each.key === key)!;
    return runVariant({ set: sets[variant.set as SetName]!, settings, watch, teachers }, variant, seed);
  };
  if (!(await runVariants(record, planned.map(({ key }) => key), { say, save, run }))) {
    const again = ['npm run example -- recursive-cifar --resume', ...(options.out === defaultOutput('recursive-cifar') ? [] : [`--out ${options.out}`])].join(' ');
    say(`Stopped; what is finished is saved. Go on with: ${again}`);
    process.exitCode = 130;
    return;
  }
  for (const { sentence, table } of summaryRows(record)) say(`\n${sentence}\n\n${textTable(table)}`);
  say('');
  shownReport(record, out);
  if (options.json) console.log(JSON.stringify(summarize(record)));
}

const given = (path: string | undefined): string | null => (path === undefined ? null : userPath(path));

function settingsOf({ epochs, set }: Options, { cifar, fashion }: Directories): Settings {
  const settings = structuredClone(cifar === null && fashion === null ? DRAWN : SETTINGS);
  if (epochs !== undefined) for (const part of PARTS) settings[part].epochs = epochs;
  return overrideSettings(settings as never, set) as unknown as Settings;
}

function shownReport(record: RunRecord, directory: string): void {
  if (!isFinished(record)) say(`The record holds ${record.runs.length} of ${plannedOf(record).length * record.seeds.length} runs; finish it with --resume. The report shows what is there.`);
  const files = writeReport(record, directory);
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
}
