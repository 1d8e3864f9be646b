/** Trains six networks of six kinds, to be compressed: `npm run bench -- compress` measures them. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { Command, Option } from 'commander';
import { compressed } from 'tfjs-weight-sharing';
import { BACKENDS, useBackend, type Backend } from '../common/backend.js';
import { defaultOutput, shownPath, userPath } from '../common/paths.js';
import { withProgress } from '../common/progress.js';
import { positiveInteger } from '../common/variant_runs.js';
import { ARCHITECTURES, lossOf, points } from './architectures.js';
import { tensorsOf, type DataOptions } from './tasks.js';

interface Options extends DataOptions {
  only?: string[];
  backend?: Backend;
  out: string;
  json?: boolean;
}

/** What the benchmark needs to go on: data, and what was reached on held-out images. */
export interface ModelsRecord {
  data: DataOptions;
  models: Record<string, { origin: string; parameters: number; validationPoints: number; epochs: number }>;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

export function command(): Command {
  return new Command('compress-models')
    .description('Trains six networks (MLP, LeNet-5, MobileNet-like, LSTM, Transformer, U-Net-like) for the benchmark of compression. Without --data it draws its own digits.')
    .addOption(new Option('--data <dir>', 'folder with the four IDX files of MNIST, gzipped or not').env('TFWS_MNIST'))
    .option('--fashion <dir>', 'folder with those of Fashion-MNIST, for mobilenet and transformer')
    .option('--images <count>', 'training images', positiveInteger, 12000)
    .addOption(new Option('--only <names...>', 'train these; the others stay as they are').choices(Object.keys(ARCHITECTURES)))
    .addOption(new Option('--backend <name>', 'default: the fastest that loads').choices(BACKENDS))
    .addOption(new Option('--out <dir>', 'where models and record go').default(defaultOutput('compress-models'), 'examples/out/compress-models'))
    .option('--json', 'end with one line of JSON')
    .allowExcessArguments(false)
    .action(main);
}

async function main({ only = Object.keys(ARCHITECTURES), backend, json, ...options }: Options): Promise<void> {
  const out = userPath(options.out);
  const data: DataOptions = {
    images: options.images,
    ...(options.data === undefined ? {} : { data: userPath(options.data) }),
    ...(options.fashion === undefined ? {} : { fashion: userPath(options.fashion) }),
  };
  await useBackend(backend, say);
  mkdirSync(out, { recursive: true });
  const path = join(out, 'record.json');
  const old = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as ModelsRecord) : null;
  if (old !== null && only.length < Object.keys(ARCHITECTURES).length && JSON.stringify(old.data) !== JSON.stringify(data)) {
    throw new Error(`compress-models: ${shownPath(path)} is of other data (${JSON.stringify(old.data)}). Train all, or choose another --out.`);
  }
  const record: ModelsRecord = { data, models: old !== null && JSON.stringify(old.data) === JSON.stringify(data) ? old.models : {} };
  for (const name of only) {
    record.models[name] = await train(name, data, join(out, `${name}.tfws`));
    writeFileSync(path, JSON.stringify(record, null, 2));
  }
  if (json) console.log(JSON.stringify(record));
}

async function train(name: string, data: DataOptions, file: string): Promise<ModelsRecord['models'][string]> {
  const architecture = ARCHITECTURES[name];
  const [training, validation] = [tensorsOf(architecture, data, 'train'), tensorsOf(architecture, data, 'validation')];
  const model = architecture.build();
  const { epochs } = architecture;
  // The rate falls tenfold over training.
  const optimizer = tfc.train.adam(1e-3);
  model.compile({ optimizer, loss: lossOf(architecture) });
  await withProgress(name, epochs, 0, async (progress) => {
    const onEpochBegin = async (epoch: number): Promise<void> => void ((optimizer as unknown as { learningRate: number }).learningRate = 1e-3 * 0.1 ** (epoch / epochs));
    const onEpochEnd = async (epoch: number): Promise<void> => progress.update(epoch + 1);
    await model.fit(training.x, training.y, { epochs, batchSize: 64, verbose: 0, callbacks: [new tfl.CustomCallback({ onEpochBegin, onEpochEnd })] });
    progress.finish();
  });
  const reached = points(model, architecture, validation.x, validation.y);
  await model.save(compressed(file));
  const parameters = model.countParams();
  tfc.dispose([training.x, training.y, validation.x, validation.y]);
  optimizer.dispose();
  model.dispose();
  say(`${name}: ${parameters} parameters, ${reached.toFixed(2)} % on held-out images (${training.origin})`);
  return { origin: training.origin, parameters, validationPoints: reached, epochs };
}
