/** `npm run example` lists the examples; `npm run example -- <name> [options]` runs `examples/<name>/main.ts`. */
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';

/** One line about each example; its folder bears the same name. */
export const EXAMPLES: Readonly<Record<string, string>> = {
  browser: 'a page that reads drawn digits with a model of 4 kB, and compresses models that are dropped on it',
  'compress-mnist': 'trains LeNet-300-100, makes it 75–100 times smaller by soft weight sharing, and writes a report',
  'compress-lenet5': 'trains LeNet-5-Caffe, a convolutional network, makes it more than a hundred times smaller, and writes a report',
  'compress-models': 'trains six networks of six kinds for the benchmark of compression (npm run bench -- compress)',
  'compression-sweep': 'compresses a network with many settings in worker processes and draws error against ratio',
  'deq-language-model': 'trains the equilibrium of a Transformer cell as a language model beside a weight-tied and a standard Transformer',
  'deq-mnist': 'trains a deep equilibrium network on digits beside a weight-tied and an explicit one; draws residuals and memory',
  'growl-mnist': 'learns which rows of kernels are zero or shared (GrOWL) beside the group lasso, and draws what it found',
  'hashed-mnist': 'trains hashed networks of 1/2 … 1/64 the weights beside dense ones of the same size, and draws the curve',
  'recurrent-stacking': 'trains language models of one layer, one layer again and again, groups and six layers, and compares perplexity and bytes',
  'recursive-cifar': 'trains LruNet, template banks, gated depth, banks of parameters and Eigen’s networks on small images, part by part',
  'recursive-super-resolution': 'sharpens images by recursive networks (DRRN, DRCN, MemNet) beside an untied one and RDN, and compares them',
  'shared-attention': 'trains language models whose layers share attention, and compares decoding speed and loss',
  'shift-detector': 'trains small networks on a hundred cases by soft weight sharing, weight decay and back-propagation',
  'universal-transformer': 'trains Universal Transformers, a Transformer and an LSTM to copy, reverse and add, and tests them on longer sequences',
  'tied-language-model': 'trains a language model with untied and tied embeddings, and compares perplexities and parameters',
};

/** What `npm run example` prints. */
export function listing(): string {
  const width = Math.max(...Object.keys(EXAMPLES).map((name) => name.length));
  return ['Examples (npm run example -- <name> --help shows the options):', ...Object.entries(EXAMPLES).map(([name, line]) => `  ${name.padEnd(width)}  ${line}`)].join('\n');
}

export async function run(args: readonly string[]): Promise<void> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h') {
    console.log(listing());
    return;
  }
  if (!Object.hasOwn(EXAMPLES, name)) throw new Error(`There is no example '${name}'.\n${listing()}`);
  const { command } = (await import(`./${name}/main.js`)) as { command: () => Command };
  await command().parseAsync(rest, { from: 'user' });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    await run(process.argv.slice(2));
  } catch (error) {
    // What a user can mend needs no stack; TFWS_DEBUG shows it.
    console.error(process.env.TFWS_DEBUG ? error : (error as Error).message);
    process.exitCode = 1;
  }
}
