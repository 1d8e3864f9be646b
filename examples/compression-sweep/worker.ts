/** A worker process of the sweep: trains the networks and runs the trials that the parent sends, one after the other. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tfl from '@tensorflow/tfjs-layers';
import { compressed } from 'tfjs-weight-sharing';
import { useBackend, type Backend } from '../common/backend.js';
import { compress } from '../common/compression/compress.js';
import type { CompressionExample } from '../common/compression/example.js';
import { compile, parameterCount, toTensors } from '../common/compression/models.js';
import type { RetrainingEpoch } from '../common/compression/record.js';
import { readDataSet } from '../common/compression/data.js';
import { trainBaseline, type TrainingData } from '../common/compression/train.js';
import type { DataSet } from '../common/images.js';
import type { Reply } from './pool.js';
import { resultPath } from './run.js';
import { SUBJECTS } from './subjects.js';
import type { Task, TrialResult } from './trials.js';

interface Workplace {
  example: CompressionExample;
  data: DataSet;
  tensors: TrainingData;
}

/** A parent that has gone is noticed between batches. */
const watch = { check: () => new Promise<void>((resolve) => setImmediate(resolve)), stop() {} };
const quiet = () => {};
let workplace: Workplace | null = null;

async function workplaceOf({ example: name, data: folder, backend }: Task): Promise<Workplace> {
  if (workplace !== null) return workplace;
  await useBackend(backend as Backend, quiet);
  const example = SUBJECTS[name];
  const data = readDataSet(folder);
  const shape = example.inputShape(data.train.width, data.train.height);
  return (workplace = { example, data, tensors: { train: toTensors(data.train, shape), validation: toTensors(data.validation, shape) } });
}

async function train(task: Task): Promise<void> {
  const { example, data, tensors } = await workplaceOf(task);
  const { seed, settings } = task.trial;
  const model = example.build(example.inputShape(data.train.width, data.train.height), seed);
  compile(model, settings.baseline.learningRate);
  await trainBaseline(model, tensors, { label: `network ${task.trial.baselineId}`, seed, settings: settings.baseline, watch }, []);
  await model.save(compressed(`file://${baselinePath(task)}`));
  model.dispose();
}

async function runTrial(task: Task): Promise<void> {
  const { data, tensors } = await workplaceOf(task);
  const { id, seed, settings, varied } = task.trial;
  const begun = performance.now();
  const baseline = await tfl.loadLayersModel(compressed(`file://${baselinePath(task)}`));
  const model = await tfl.loadLayersModel(compressed(`file://${baselinePath(task)}`));
  const path = join(task.out, 'trials', `${id}.tfws`);
  mkdirSync(join(task.out, 'trials'), { recursive: true });
  const epochs: RetrainingEpoch[] = [];
  const outcome = await compress({ model, baseline, tensors, validation: data.validation, settings: settings.retraining, seed, epochs, path, watch, say: quiet });
  const { baselineError, retrainedError, quantizedError, fileBytes, nonZeroPercent, relativeDistance } = outcome;
  const result: TrialResult = {
    id, seed, varied, settings, baselineError, retrainedError, quantizedError, fileBytes, nonZeroPercent, relativeDistance,
    errors: epochs.map(({ validationError }) => validationError),
    ratio: (4 * parameterCount(model)) / fileBytes,
    values: outcome.components.after,
    tensors: outcome.tensors.map(({ name, parameters, bytes }) => ({ name, parameters, bytes })),
    seconds: (performance.now() - begun) / 1000,
  }; // prettier-ignore
  model.dispose();
  baseline.dispose();
  const file = resultPath(task.out, id);
  writeFileSync(`${file}.part`, JSON.stringify(result));
  renameSync(`${file}.part`, file);
}

function baselinePath({ out, trial }: Task): string {
  mkdirSync(join(out, 'networks'), { recursive: true });
  return join(out, 'networks', `${trial.baselineId}.tfws`);
}

process.on('disconnect', () => process.exit(1));
process.on('message', async (task: Task) => {
  const reply: Reply = {};
  try {
    if (task.kind === 'trial') await runTrial(task);
    else if (!existsSync(baselinePath(task))) await train(task);
  } catch (error) {
    reply.error = process.env.TFWS_DEBUG ? String((error as Error).stack) : (error as Error).message;
  }
  process.send!(reply);
});
