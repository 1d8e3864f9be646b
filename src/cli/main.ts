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
import type { LoadPackage } from './retrain.js';

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

const countFromOne = (text: string): number => {
  const value = count(text);
  if (value < 1) throw new InvalidArgumentError('At least 1 is expected.');
  return value;
};

const notNegative = (text: string): number => {
  const value = number(text);
  if (value < 0) throw new InvalidArgumentError('A number ≥ 0 is expected.');
  return value;
};

const MODEL = 'model.json, .tfws file, directory of one, or http(s) URL';

/** `exit` sets the exit code; `loadPackage` is called before a model is run, so that its layers are known. */
function makeProgram(version: string, exit: (code: number) => void, loadPackage: LoadPackage): Command {
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
      .option('--inputs <files...>', 'inputs of the model, one file each: .npy, IDX, .csv, or nested arrays in .json')
      .option('--samples <n>', 'number of random samples without --inputs', countFromOne, 32)
      .option('--seed <n>', 'of the random samples', count, 1)
      .addOption(new Option('--backend <name>', 'instead of the fastest that is installed').choices(BACKENDS));

  runOptions(
    command('compress', 'compresses a model, without data or with', [
      'compress model/model.json small.tfws --ratio 10',
      'compress https://example.org/model.json small.tfws --bits 4 --report report.html',
      'compress model/ small/ --stock --max-error 0.05      # loads with stock tfjs',
      'compress model/ small.tfws --ratio 12 --measure --skip "embedding*"',
      'compress model/ small.tfws --data x.npy labels.npy --epochs 30             # retrains by soft weight sharing',
      'compress model/ small.tfws --ratio 16 --data train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz --divide 255',
      'compress model/ small.tfws --bits 3 --data table.csv --target price --loss meanSquaredError',
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
      .option('--skip <patterns...>', 'weights or layers that are neither quantised nor rounded, with * for anything')
      .addOption(new Option('--vectors <how>', 'biases and other vectors: to 11 significant bits, or as they are').choices(['round', 'keep']))
      .option('--stock', 'write model.json and shards that any tfjs loads (uint8, uint16, float16)')
      .option('--measure', 'share out bytes by measured outputs on random samples (needs a backend)')
      .option('--data <files...>', 'retrain on samples: inputs, then targets, one file each (.npy, IDX, .csv, .json; class numbers are taken), or a .csv with --target')
      .option('--target <column>', 'name or number (from 1) of the column of a table that is the target')
      .option('--validation <files...>', 'held-out samples, as --data (default: a part of --data)')
      .option('--hold-out <share>', 'part of --data that is held out (default 0.2)', number)
      .option('--divide <x>', 'divide inputs by this, e.g. 255 for bytes', number)
      .addOption(new Option('--retrain <how>', 'softSharing, which decides on the size itself (default), or clusters: values of the codebooks (default with --bits, --ratio, --max-error)').choices(['softSharing', 'clusters']))
      .option('--epochs <n>', 'of soft weight sharing (default 40, or as many as make 2 000 steps), or at most of fine-tuning (default 10)', count)
      .option('--loss <name>', 'as for model.compile (default: what the model was saved with, or categoricalCrossentropy for classes)')
      .option('--metric <name>', 'by which the best epoch is chosen on held-out samples (default: accuracy for classes, else loss)')
      .option('--patience <n>', 'fine-tuning ends after so many epochs without an improvement (default 3)', count)
      .option('--batch-size <n>', 'default 128', count)
      .option('--learning-rate <x>', "Adam's (default 5e-4, or 1e-4 of fine-tuning)", number)
      .addOption(new Option('--aggregation <how>', 'how steps of equal weights become one').choices(['average', 'sum']))
      .option('--straight-through', 'weights may take another value of their codebook while that is fine-tuned')
      .option('--tau <x>', 'weight of the prior in soft weight sharing: larger is smaller (default 0.02)', number)
      .option('--report <file>', 'write a report, .html or .json')
      .option('--dry-run', 'do everything but write the model')
      .option('--force', 'replace an output that exists'),
  ).action(async (model: string, out: string, { preserveSparsity, ...flags }: CompressFlags & Shared, self: Command) => {
    const { measure = false, inputs, data } = flags;
    const random = measure && inputs === undefined;
    const needs = { samples: [random, '--measure'], seed: [random || data !== undefined, '--measure or --data'] } as const;
    for (const [option, [used, other]] of Object.entries(needs)) {
      if (!used && self.getOptionValueSource(option) === 'cli') throw new Error(`--${option} has a say only with ${other}. Leave it out.`);
    }
    if (flags.measure || flags.inputs !== undefined) await loadPackage();
    await compress(model, out, { ...flags, ...(preserveSparsity === false ? { preserveSparsity } : {}) }, makeOutput(flags), loadPackage);
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
      .option('--tolerance <x>', 'largest relative error of an output, ‖a − b‖ / ‖a‖', notNegative, 0.1),
  ).action(async (first: string, second: string, flags: VerifyFlags & Shared) => {
    await loadPackage();
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
export async function run(args: readonly string[], version: string, loadPackage: LoadPackage): Promise<number> {
  let code = 0;
  try {
    await makeProgram(version, (wanted) => (code = wanted), loadPackage).parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    // Help and version end so, too; commander has printed what it had to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`error: ${process.env.TFWS_DEBUG ? (error as Error).stack : (error as Error).message}\n`);
    return 2;
  }
}
