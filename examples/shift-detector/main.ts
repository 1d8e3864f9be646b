/**
 * Nowlan & Hinton's shift detector (1992, §5): a hundred cases, 221 weights, and a solution that uses few values of them. Soft weight
 * sharing with the noise of the targets learned (`dataNoise: 'learned'`), beside weight decay and plain back-propagation.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import { positiveInteger } from '../common/variant_runs.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { withProgress } from '../common/progress.js';
import { trainDetector } from './methods.js';
import { choose, summarize, type MethodRecord, type RunRecord, type Trial } from './record.js';
import { headline, writeReport } from './report.js';
import { METHODS, SETTINGS, type Method } from './settings.js';
import { shiftTask } from './task.js';

interface Options {
  backend: Backend;
  seeds: number;
  out: string;
  json?: boolean;
}

const say = (line: string) => void process.stderr.write(`${line}\n`);

export function command(): Command {
  return new Command('shift-detector')
    .description('Trains small networks to detect shifts from a hundred cases: soft weight sharing, weight decay, back-propagation.')
    .addOption(new Option('--backend <name>', 'small networks are fastest on cpu').choices(BACKENDS).default('cpu'))
    .option('--seeds <count>', 'cases and networks', positiveInteger, 5)
    .addOption(new Option('--out <dir>', 'where record and report go').default(defaultOutput('shift-detector'), 'examples/out/shift-detector'))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action(main);
}

async function main(options: Options): Promise<void> {
  const { label } = await useBackend(options.backend, say);
  const out = userPath(options.out);
  mkdirSync(out, { recursive: true });
  const seeds = Array.from({ length: options.seeds }, (_, i) => i + 1);
  const tries = METHODS.reduce((sum, method) => sum + SETTINGS.strengths[method].length, 0) * seeds.length;
  const methods: MethodRecord[] = [];
  await withProgress('shift detector', tries, 0, async (progress) => {
    let done = 0;
    for (const method of METHODS) {
      const trials: Trial[] = [];
      for (const strength of SETTINGS.strengths[method]) {
        const fitted = [];
        for (const seed of seeds) {
          fitted.push(await trainOne(method, strength, seed));
          progress.update(++done, `${method}, ${strength}`);
        }
        trials.push({ strength, fitted });
      }
      methods.push({ method, trials, chosen: choose(trials) });
    }
    progress.finish();
  });
  const record: RunRecord = { backend: label, settings: SETTINGS, seeds, methods };
  writeFileSync(join(out, 'record.json'), JSON.stringify(record));
  const files = writeReport(record, out);
  say(headline(record));
  say(`Report: ${shownPath(files.html)} and ${shownPath(files.png)}`);
  if (options.json) console.log(JSON.stringify(summarize(record)));
}

async function trainOne(method: Method, strength: number, seed: number) {
  const task = shiftTask(seed, SETTINGS.cases);
  try {
    return await trainDetector(method, strength, task, seed, SETTINGS);
  } finally {
    for (const { xs, ys } of Object.values(task)) [xs, ys].forEach((tensor) => tensor.dispose());
  }
}
