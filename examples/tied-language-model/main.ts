/**
 * A small language model three times: with an output table of its own, with that of the input (tied), and tied with the augmented loss;
 * perplexities and parameters side by side.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { generatedText, readTextData, type TextData } from '../common/text.js';
import { positiveInteger, runVariants, textTable } from '../common/variant_runs.js';
import { overrideSettings } from '../common/compression/settings.js';
import { LABELS } from './figures.js';
import { runVariant } from './job.js';
import { isFinished, parseRecord, RECORD_FORMAT, summarize, type RunRecord } from './record.js';
import { headline, writeReport } from './report.js';
import { settingsFor, VARIANTS, type Settings, type VariantName } from './settings.js';

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
  return new Command('tied-language-model')
    .description('Trains a language model with untied and tied embeddings. Without --data it makes up its own sentences.')
    .addOption(new Option('--data <dir>', 'folder with valid.txt and test.txt (WikiText-2, by words) or input.txt (one text, by characters), gzipped or not').env('TFWS_TEXT'))
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--seeds <count>', 'repeat with this many seeds and report medians', positiveInteger, 1)
    .option('--first-seed <seed>', 'the first of them', positiveInteger, 1)
    .addOption(new Option('--out <dir>', 'where record and report go').default(defaultOutput('tied-language-model'), 'examples/out/tied-language-model'))
    .option('--set <section.name=value...>', 'change a setting, e.g. model.width=64', [])
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
  const data = directory === null ? generatedText() : readTextData(directory);
  const record = earlier ?? newRecord(options, data, directory, label);
  const token = data.level === 'word' ? 'words' : 'characters';
  say(`${data.origin}: ${data.train.length} ${token} to train, ${data.validation.length} held out, ${data.test.length} to test; ${data.vocabulary.length} different ones. Backend: ${label}.`);
  mkdirSync(out, { recursive: true });
  const save = () => writeFileSync(path, JSON.stringify(record));
  const run = (variant: VariantName, seed: number, watch: InterruptWatch) => runVariant({ data, settings: record.settings, watch }, variant, seed);
  if (!(await runVariants(record, VARIANTS, { say, save, run }))) {
    const again = ['npm run example -- tied-language-model --resume', ...(options.out === defaultOutput('tied-language-model') ? [] : [`--out ${options.out}`])].join(' ');
    say(`Stopped; what is finished is saved. Go on with: ${again}`);
    process.exitCode = 130;
    return;
  }
  say(summaryText(record));
  shownReport(record, out);
  if (options.json) console.log(JSON.stringify(summarize(record)));
}

function newRecord(options: Options, data: TextData, directory: string | null, backend: string): RunRecord {
  const { origin, level, vocabulary, train, validation, test } = data;
  return {
    format: RECORD_FORMAT,
    data: { origin, level, vocabulary: vocabulary.length, train: train.length, validation: validation.length, test: test.length },
    directory,
    backend,
    settings: overrideSettings(settingsFor(level, directory === null) as never, options.set) as unknown as Settings,
    seeds: Array.from({ length: options.seeds }, (_, i) => options.firstSeed + i),
    runs: [],
  };
}

function shownReport(record: RunRecord, directory: string): void {
  if (!isFinished(record)) throw new Error(`tied-language-model: the record holds ${record.runs.length} of ${VARIANTS.length * record.seeds.length} runs. Finish it with --resume first.`);
  const files = writeReport(record, directory);
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
}

function summaryText(record: RunRecord): string {
  const rows = [['variant', 'seed', 'parameters', 'held-out', 'test perplexity'], ...record.runs.map((run) =>
    [LABELS[run.variant], `${run.seed}`, `${run.parameters}`, run.perplexity.validation.toFixed(2), run.perplexity.test.toFixed(2)])]; // prettier-ignore
  return `\n${headline(record)}\n\n${textTable(rows)}\n`;
}
