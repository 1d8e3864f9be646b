/**
 * The command `tfjs-weight-sharing`. Exit codes: 0 done, 1 `verify` found too large a deviation, 2 wrong use or an error (then nothing was
 * written), 130 interrupted.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { INITIALIZATIONS } from '../clustering/lloyd.js';
import { BACKENDS } from './backend.js';
import { compress, type CompressFlags } from './compress.js';
import { decompress, inspect, report, verify, type VerifyFlags } from './other_commands.js';
import { makeOutput } from './output.js';

interface Shared {
  json?: boolean;
  quiet?: boolean;
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('A number is expected.');
  return value;
}

const count = (text: string): number => {
  const value = number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('A whole number is expected.');
  return value;
};

const MODEL = 'model.json, .tfws file, directory of one, or http(s) URL';

/** `exit` sets the exit code; `registerLayers` is called before a model is run. */
function makeProgram(version: string, exit: (code: number) => void, registerLayers: () => Promise<unknown>): Command {
  const program = new Command('tfjs-weight-sharing')
    .description('Makes trained TensorFlow.js models smaller, and looks into them.')
    .version(version)
    .showHelpAfterError('(--help shows the options)')
    .exitOverride();
  const command = (name: string, description: string, examples: string[]): Command =>
    program
      .command(name)
      .description(description)
      .option('--json', 'print one JSON object instead of text')
      .option('--quiet', 'print errors and warnings only')
      .addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ tfjs-weight-sharing ${line}`).join('\n')}`)
      .exitOverride();
  const runOptions = (of: Command): Command =>
    of
      .option('--inputs <files...>', 'inputs of the model, one file each: .npy, or nested arrays in .json')
      .option('--samples <n>', 'number of random samples without --inputs', count, 32)
      .option('--seed <n>', 'of the random samples', count, 1)
      .addOption(new Option('--backend <name>', 'instead of the fastest that is installed').choices(BACKENDS));

  runOptions(
    command('compress', 'compresses a model without retraining it', [
      'compress model/model.json small.tfws --ratio 10',
      'compress https://example.org/model.json small.tfws --bits 4 --report report.html',
      'compress model/ small/ --stock --max-error 0.05      # loads with stock tfjs',
      'compress model/ small.tfws --ratio 12 --measure --skip "embedding*"',
    ])
      .argument('<model>', MODEL)
      .argument('<out>', '.tfws file, or its directory; with --stock a directory')
      .option('--bits <n>', '2^n values for each tensor (default 4, without --ratio and --max-error)', number)
      .option('--ratio <x>', 'bytes of float32 weights over bytes of the result (with --stock after gzip)', number)
      .option('--max-error <x>', 'largest relative error of a tensor, ‖w − q‖ / ‖w‖', number)
      .addOption(new Option('--method <name>', 'how values are found (default: kMeans with --bits, else entropyConstrained)').choices(['kMeans', 'entropyConstrained', 'mixture']))
      .addOption(new Option('--init <name>', 'start of k-means; optimal is exact').choices(['optimal', ...INITIALIZATIONS]))
      .option('--per-channel', 'k-means for each output channel: more exact, more bytes')
      .option('--no-preserve-sparsity', 'zeros need not stay zeros')
      .option('--skip <patterns...>', 'weights or layers that stay as they are, with * for anything')
      .addOption(new Option('--vectors <how>', 'biases and other vectors: to 11 significant bits, or as they are').choices(['round', 'keep']))
      .option('--stock', 'write model.json and shards that any tfjs loads (uint8, uint16, float16)')
      .option('--measure', 'share out bytes by measured outputs on random samples (needs a backend)')
      .option('--report <file>', 'write a report, .html or .json')
      .option('--dry-run', 'do everything but write the model')
      .option('--force', 'replace an output that exists'),
  ).action(async (model: string, out: string, { preserveSparsity, ...flags }: CompressFlags & Shared) => {
    if (flags.measure || flags.inputs !== undefined) await registerLayers();
    await compress(model, out, { ...flags, ...(preserveSparsity === false ? { preserveSparsity } : {}) }, makeOutput(flags));
  });

  command('inspect', 'shows what a model holds', ['inspect model.json', 'inspect small.tfws --json'])
    .argument('<model>', MODEL)
    .action((model: string, flags: Shared) => inspect(model, makeOutput(flags)));

  command('decompress', 'writes a plain float32 model: model.json and shards', ['decompress small.tfws model/'])
    .argument('<model>', MODEL)
    .argument('<out>', 'directory')
    .option('--force', 'replace what is in the directory')
    .action((model: string, out: string, flags: Shared & { force?: boolean }) => decompress(model, out, flags, makeOutput(flags)));

  runOptions(
    command('verify', 'runs two models on the same inputs and compares their outputs; exit code 1 where they differ by more than the tolerance', [
      'verify model/model.json small.tfws',
      'verify model/ small.tfws --inputs images.npy --tolerance 0.05 --json',
    ])
      .argument('<first>', MODEL)
      .argument('<second>', MODEL)
      .option('--tolerance <x>', 'largest relative error of an output, ‖a − b‖ / ‖a‖', number, 0.1),
  ).action(async (first: string, second: string, flags: VerifyFlags & Shared) => {
    await registerLayers();
    if (!(await verify(first, second, flags, makeOutput(flags)))) exit(1);
  });

  command('report', 'shows where the bytes of a model would be, or are, in a .tfws file', ['report small.tfws', 'report model.json --html sizes.html'])
    .argument('<model>', MODEL)
    .option('--html <file>', 'also write a page with plots')
    .option('--force', 'replace a page that exists')
    .action((model: string, flags: Shared & { html?: string; force?: boolean }) => report(model, flags, makeOutput(flags)));
  return program;
}

/** Runs the command line; returns the exit code. */
export async function run(args: readonly string[], version: string, registerLayers: () => Promise<unknown> = async () => undefined): Promise<number> {
  let code = 0;
  try {
    await makeProgram(version, (wanted) => (code = wanted), registerLayers).parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    // Help and version end so, too; commander has printed what it had to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`error: ${process.env.TFWS_DEBUG ? (error as Error).stack : (error as Error).message}\n`);
    return 2;
  }
}
