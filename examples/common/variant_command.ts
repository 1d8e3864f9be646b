/** The command line of an example that trains variants of a model for some seeds: options, the saved record, Ctrl-C and --resume, the report. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from './backend.js';
import { overrideSettings } from './compression/settings.js';
import type { InterruptWatch } from './interrupt.js';
import { defaultOutput, refuseData, shownPath, userPath } from './paths.js';
import type { ReportFiles } from './report_files.js';
import { parsedRecord, positiveInteger, runVariants, textTable } from './variant_runs.js';

/** What a run leaves behind, as plain JSON: a stopped run goes on from it, the report is made of it. */
export interface VariantRecord<Settings, Run, About = unknown, Measured = unknown> {
  format: string;
  /** What was trained on, for the report. */
  data: About;
  /** The folder that was given, or null. */
  directory: string | null;
  backend: string;
  settings: Settings;
  seeds: number[];
  runs: Run[];
  /** What was measured of all variants together, after the runs. */
  measured?: Measured;
}

export interface VariantExample<Variant extends string, Run extends { seed: number; variant: Variant }, Settings, Data, About, Measured> {
  name: string;
  description: string;
  /** Of the record; a number at its end counts versions. */
  format: string;
  /** The option --data; null where the example makes all data itself. */
  data: { help: string; env: string } | null;
  /** An assignment to show for --set. */
  setting: string;
  /** @param settingsOf defaults as --set changes them, or the settings of the run that is gone on with. */
  load(directory: string | null, settingsOf: (defaults: Settings) => Settings): { data: Data; settings: Settings; about: About; line: string };
  variants(settings: Settings): readonly Variant[];
  run(job: { data: Data; settings: Settings; watch: InterruptWatch }, variant: Variant, seed: number): Promise<Run>;
  /** After the last run: what variants have to be measured side by side for. */
  measure?(record: VariantRecord<Settings, Run, About, Measured>): Promise<Measured>;
  headline(record: VariantRecord<Settings, Run, About, Measured>): string;
  /** For a terminal: a head and rows. */
  table(record: VariantRecord<Settings, Run, About, Measured>): string[][];
  /** The last line of --json. */
  summarize(record: VariantRecord<Settings, Run, About, Measured>): unknown;
  writeReport(record: VariantRecord<Settings, Run, About, Measured>, directory: string): ReportFiles;
}

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

export function variantCommand<Variant extends string, Run extends { seed: number; variant: Variant }, Settings, Data, About, Measured>(
  example: VariantExample<Variant, Run, Settings, Data, About, Measured>,
): Command {
  const { name, description, data, setting } = example;
  const command = new Command(name).description(description);
  if (data !== null) command.addOption(new Option('--data <dir>', data.help).env(data.env));
  const chosen = ['seeds', 'firstSeed', 'set'];
  return command
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .option('--seeds <count>', 'repeat with this many seeds and report medians', positiveInteger, 1)
    .option('--first-seed <seed>', 'the first of them', positiveInteger, 1)
    .addOption(new Option('--out <dir>', 'where record and report go').default(defaultOutput(name), `examples/out/${name}`))
    .option('--set <section.name=value...>', `change a setting, e.g. ${setting}`, [])
    .addOption(new Option('--resume', 'go on with the run in --out that Ctrl-C stopped, without repeating what is finished').conflicts(chosen))
    .addOption(new Option('--report-only <record>', 'render the report of a saved record.json again, beside it').conflicts(['seeds', 'firstSeed', 'set', 'resume', 'backend', 'out', 'json']))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action((options: Options, self: Command) => {
      refuseData(options, self, ['data']);
      return main(example, options);
    });
}

async function main<Variant extends string, Run extends { seed: number; variant: Variant }, Settings, Data, About, Measured>(example: VariantExample<Variant, Run, Settings, Data, About, Measured>, options: Options): Promise<void> {
  type Saved = VariantRecord<Settings, Run, About, Measured>;
  const { name, format } = example;
  const read = (path: string) => parsedRecord<Saved>(name, format, readFileSync(path, 'utf8'), path);
  const report = (record: Saved, directory: string) => {
    const count = example.variants(record.settings).length * record.seeds.length;
    if (record.runs.length !== count) throw new Error(`${name}: the record holds ${record.runs.length} of ${count} runs. Finish it with --resume first.`);
    const files = example.writeReport(record, directory);
    say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  };
  if (options.reportOnly !== undefined) {
    const path = userPath(options.reportOnly);
    return report(read(path), dirname(path));
  }
  const out = userPath(options.out);
  const path = join(out, 'record.json');
  if (options.resume && !existsSync(path)) throw new Error(`${shownPath(path)}: there is nothing to go on with. Leave --resume out.`);
  const earlier = options.resume ? read(path) : null;
  const { label } = await useBackend(options.backend, say);
  const directory = earlier === null ? (options.data === undefined ? null : userPath(options.data)) : earlier.directory;
  const settingsOf = (defaults: Settings) => earlier?.settings ?? (overrideSettings(defaults as never, options.set) as unknown as Settings);
  const { data, settings, about, line } = example.load(directory, settingsOf);
  const record: Saved = earlier ?? {
    format, data: about, directory, backend: label, settings,
    seeds: Array.from({ length: options.seeds }, (_, i) => options.firstSeed + i),
    runs: [],
  }; // prettier-ignore
  say(`${line} Backend: ${label}.`);
  mkdirSync(out, { recursive: true });
  const finished = await runVariants<Variant, Run>(record, example.variants(record.settings), {
    say,
    save: () => writeFileSync(path, JSON.stringify(record)),
    run: (variant, seed, watch) => example.run({ data, settings: record.settings, watch }, variant, seed),
  });
  if (!finished) {
    const again = [`npm run example -- ${name} --resume`, ...(options.out === defaultOutput(name) ? [] : [`--out ${options.out}`])].join(' ');
    say(`Stopped; what is finished is saved. Go on with: ${again}`);
    process.exitCode = 130;
    return;
  }
  if (example.measure !== undefined) record.measured = await example.measure(record);
  writeFileSync(path, JSON.stringify(record));
  say(`\n${example.headline(record)}\n\n${textTable(example.table(record))}\n`);
  report(record, out);
  if (options.json) console.log(JSON.stringify(example.summarize(record)));
}
