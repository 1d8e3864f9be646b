/** Makes what the page shows: LeNet-300-100 is trained and compressed by the example compress-mnist, and its sizes are taken beside. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { io } from '@tensorflow/tfjs-core';
import { decodeModelArtifacts } from 'tfjs-weight-sharing';
import { parseRecord } from '../common/compression/record.js';
import { defaultOutput, userPath } from '../common/paths.js';
import { command as compressMnist } from '../compress-mnist/main.js';
import type { DigitFacts } from './page/digit_facts.js';
import { coarser } from './page/histogram.js';

/** Trains anew, unless `run` names the folder of a run of compress-mnist, and writes `digits.tfws` and `digits.json` into `target`. */
export async function makeModel(target: string, { data, run }: { data?: string; run?: string }): Promise<DigitFacts> {
  const folder = run === undefined ? defaultOutput('compress-mnist') : userPath(run);
  if (run === undefined) await compressMnist().parseAsync(['--no-comparison', '--out', folder, ...(data === undefined ? [] : ['--data', data])], { from: 'user' });
  const recordFile = join(folder, 'record.json');
  const { data: origin, seeds } = parseRecord(readFileSync(recordFile, 'utf8'), recordFile);
  const [{ seed, parameters, errors, histograms }] = seeds;
  const [trained, shared] = ['baseline', 'model'].map((name) => decodeModelArtifacts(readFileSync(join(folder, `seed-${seed}`, `${name}.tfws`))));
  const facts: DigitFacts = {
    origin: origin.origin,
    parameters,
    testError: { before: errors.baseline.test, after: errors.quantized.test },
    // As a site would serve the trained network without this package: model.json and its weights.
    bytes: { raw: sum(stockFiles(trained)), gzip: sum(stockFiles(trained).map(gzip)), sharedGzip: sum(stockFiles(shared).map(gzip)) },
    before: coarser(histograms.before, BIN),
  };
  copyFileSync(join(folder, `seed-${seed}`, 'model.tfws'), join(target, 'digits.tfws'));
  writeFileSync(join(target, 'digits.json'), `${JSON.stringify(facts)}\n`);
  return facts;
}

/** Bins of the record that make one bar. */
const BIN = 8;

const gzip = (bytes: Uint8Array): Uint8Array => gzipSync(bytes, { level: 9 });
const sum = (files: readonly Uint8Array[]): number => files.reduce((total, { length }) => total + length, 0);

/** model.json and weights.bin as `model.save` writes them. */
function stockFiles({ modelTopology, weightSpecs, weightData }: io.ModelArtifacts): Uint8Array[] {
  const json = JSON.stringify({ format: 'layers-model', modelTopology, weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }] });
  return [new TextEncoder().encode(json), new Uint8Array(weightData as ArrayBuffer)];
}
