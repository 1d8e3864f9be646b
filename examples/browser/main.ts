/** A page that loads a compressed digit classifier, and compresses the user's own models, all in the browser. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { defaultOutput, shownPath } from '../common/paths.js';
import { positiveInteger } from '../common/variant_runs.js';
import { makeModel } from './make_model.js';
import { buildPage, PAGE, servePage } from './serve.js';

interface Options {
  port: number;
  host?: boolean;
  build?: boolean;
  makeModel?: boolean;
  data?: string;
  run?: string;
}

export function command(): Command {
  return new Command('browser')
    .description('Serves a page that classifies drawn digits with a model of 4 kB, and compresses models that are dropped on it.')
    .option('--port <number>', 'where to listen; the next free one where it is taken', positiveInteger, 5173)
    .option('--host', 'listen to the network too, e.g. for a phone')
    .addOption(new Option('--build', 'write the page as static files to examples/out/browser instead').conflicts(['port', 'host']))
    .addOption(new Option('--make-model', 'first make the digit model anew: train and compress (a minute), or take --run').default(false))
    .option('--data <dir>', 'with --make-model: folder with the IDX files of MNIST; default: drawn digits')
    .addOption(new Option('--run <dir>', 'with --make-model: take the models of this run of compress-mnist').conflicts('data'))
    .allowExcessArguments(false)
    .action(main);
}

async function main({ port, host = false, build, makeModel: makes, data, run }: Options): Promise<void> {
  if (!makes && (data !== undefined || run !== undefined)) throw new Error(`--${data !== undefined ? 'data' : 'run'} goes with --make-model.`);
  if (makes) {
    const { testError, bytes } = await makeModel(join(PAGE, 'public'), { data, run });
    console.log(`Digit model: ${bytes.raw} bytes as float32, test error ${testError.before.toFixed(2)} → ${testError.after.toFixed(2)} %.`);
  }
  if (build) {
    const out = defaultOutput('browser');
    rmSync(out, { recursive: true, force: true });
    await buildPage(out);
    console.log(`Wrote ${shownPath(out)}; any web server can serve it.`);
    return;
  }
  const { resolvedUrls } = await servePage({ port, host });
  console.log([...resolvedUrls!.local, ...resolvedUrls!.network].map((url) => `Open ${url}`).join('\n'));
  console.log('Ctrl-C ends it.');
}
