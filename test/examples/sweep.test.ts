import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tfl from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { unionOf } from '../../examples/common/compression/train.js';
import { MNIST_SETTINGS } from '../../examples/compress-mnist/settings.js';
import { renderSweep, writeSweepReport, type SweepRecord } from '../../examples/compression-sweep/report.js';
import { runTrials } from '../../examples/compression-sweep/run.js';
import { SUBJECTS } from '../../examples/compression-sweep/subjects.js';
import { hashOf, paretoFront, planTrials, type TrialResult } from '../../examples/compression-sweep/trials.js';

const plan = { example: 'compress-mnist', dataHash: 'abc', backend: 'cpu', base: MNIST_SETTINGS, vary: ['retraining.tau=[0.01,0.02]', 'retraining.values=["means","centroids"]'], seeds: 2 };

describe('the trials of a sweep', () => {
  it('are all combinations for all seeds, on one network per seed', () => {
    const trials = planTrials(plan);
    expect(trials.map(({ seed, settings: { retraining } }) => [seed, retraining.tau, retraining.values])).toEqual([
      [1, 0.01, 'means'], [2, 0.01, 'means'], [1, 0.01, 'centroids'], [2, 0.01, 'centroids'],
      [1, 0.02, 'means'], [2, 0.02, 'means'], [1, 0.02, 'centroids'], [2, 0.02, 'centroids'],
    ]); // prettier-ignore
    expect(new Set(trials.map(({ id }) => id)).size).toBe(8);
    expect(new Set(trials.map(({ baselineId }) => baselineId)).size).toBe(2);
    expect(trials[0].varied).toEqual(['retraining.tau=0.01', 'retraining.values=means']);
  });

  it('keep their names from run to run, and change them with anything that changes the result', () => {
    const [first] = planTrials(plan);
    expect(planTrials(plan)[0].id).toBe(first.id);
    // The other methods are no part of a trial.
    expect(planTrials({ ...plan, base: { ...MNIST_SETTINGS, comparison: { ...MNIST_SETTINGS.comparison, tolerance: 9 } } })[0].id).toBe(first.id);
    for (const other of [{ dataHash: 'abd' }, { backend: 'wasm' }, { example: 'compress-lenet5' }, { base: { ...MNIST_SETTINGS, baseline: { ...MNIST_SETTINGS.baseline, epochs: 3 } } }]) {
      const [changed] = planTrials({ ...plan, ...other });
      expect([changed.id === first.id, changed.baselineId === first.baselineId]).toEqual([false, false]);
    }
  });

  it('refuse what is no list, and names that do not exist', () => {
    for (const axis of ['retraining.tau=0.1', 'retraining.tau=[]', 'tau', 'retraining.tau=[1,']) {
      expect(() => planTrials({ ...plan, vary: [axis] })).toThrow(`--vary: expected section.name=[value, …] with a JSON list, got '${axis}'.`);
    }
    expect(() => planTrials({ ...plan, vary: ['retraining.tua=[1]'] })).toThrow("got 'retraining.tua=1'");
  });
});

describe('the hash of a set of images', () => {
  it('changes with an image or a label of those that settings are chosen on, not with the test images', () => {
    const images = (first: number, label = 0) => ({ images: Uint8Array.of(first, 1, 2, 3), labels: Uint8Array.of(label), width: 2, height: 2 });
    const hash = hashOf({ train: images(0), validation: images(0) });
    expect(hashOf({ train: images(0), validation: images(0) })).toBe(hash);
    for (const other of [{ train: images(1), validation: images(0) }, { train: images(0), validation: images(1) }, { train: images(0, 1), validation: images(0) }]) expect(hashOf(other)).not.toBe(hash);
  });
});

/** Writes a line for each task into `log`; fails, ends itself or answers by the seed of the trial. */
const STUB = `
  import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
  process.on('message', ({ kind, out, trial: { id, baselineId, seed, varied, settings } }) => {
    appendFileSync(out + '/log', kind + ' ' + seed + '\\n');
    if (existsSync(out + '/trouble')) {
      if (kind === 'baseline' && seed === 1) return process.send({ error: 'no such data' });
      if (kind === 'trial' && seed === 2) return process.send({ error: 'out of memory' });
      if (kind === 'trial' && seed === 3) process.kill(process.pid, 'SIGKILL');
    }
    mkdirSync(out + '/trials', { recursive: true });
    if (kind === 'trial') writeFileSync(out + '/trials/' + id + '.json', JSON.stringify({ id, seed, varied, settings, quantizedError: 2, ratio: 70 }));
    process.send({});
  });
`;

describe('running a sweep', () => {
  it('goes on past trials and processes that fail, and the next run does only what is left', async () => {
    const out = mkdtempSync(join(tmpdir(), 'tfws-sweep-'));
    const script = join(out, 'stub.mjs');
    writeFileSync(script, STUB);
    writeFileSync(join(out, 'trouble'), '');
    const trials = planTrials({ ...plan, vary: ['retraining.tau=[0.01,0.02]'], seeds: 4 });
    const said: string[] = [];
    const run = () => runTrials(trials, { data: null, example: 'compress-mnist', backend: 'cpu', out, workers: 1, script }, (line) => said.push(line));
    const logged = () => readFileSync(join(out, 'log'), 'utf8').trim().split('\n');
    try {
      const { results, failures } = await run();
      expect(results.map(({ seed, varied }) => [seed, ...varied])).toEqual([[4, 'retraining.tau=0.01'], [4, 'retraining.tau=0.02']]); // prettier-ignore
      const reasons = ['the network that it starts from was not trained: no such data', 'out of memory', 'its process ended (SIGKILL)'];
      expect(failures.map(({ seed, reason }) => [seed, reason])).toEqual([...reasons, ...reasons].map((reason, i) => [1 + (i % 3), reason]));
      expect(said).toContain('retraining.tau=0.01, seed 2 failed: out of memory');
      expect(logged()).toEqual(['baseline 1', 'baseline 2', 'baseline 3', 'baseline 4', 'trial 2', 'trial 3', 'trial 4', 'trial 2', 'trial 3', 'trial 4']);

      rmSync(join(out, 'trouble'));
      const again = await run();
      expect([again.results.length, again.failures]).toEqual([8, []]);
      expect(said).toContain('2 of 8 trials were run before.');
      expect(logged().slice(10)).toEqual(['baseline 1', 'baseline 2', 'baseline 3', 'trial 1', 'trial 2', 'trial 3', 'trial 1', 'trial 2', 'trial 3']);

      await run();
      expect(logged()).toHaveLength(19);
    } finally {
      rmSync(out, { recursive: true, force: true });
    }
  });
});

describe('the Pareto curve', () => {
  it('keeps what nothing beats in both, ascending', () => {
    const points = [[10, 2], [20, 1], [20, 3], [30, 1.5], [40, 1.5], [5, 1], [50, 9]].map(([ratio, quantizedError]) => ({ ratio, quantizedError })); // prettier-ignore
    expect(paretoFront(points).map(({ ratio, quantizedError }) => [ratio, quantizedError])).toEqual([[20, 1], [40, 1.5], [50, 9]]); // prettier-ignore
    expect(paretoFront([])).toEqual([]);
  });
});

describe('the report of a sweep', () => {
  it('shows every trial and marks the curve', () => {
    const results = planTrials({ ...plan, seeds: 1 }).map(({ id, seed, varied, settings }, i): TrialResult => ({
      id, seed, varied, settings, baselineError: 1.8, retrainedError: 1.7, quantizedError: 1.75 + 0.1 * i, errors: [1.8], fileBytes: 10_000 - 500 * i,
      ratio: 1_066_440 / (10_000 - 500 * i), values: 9, nonZeroPercent: 4, relativeDistance: 0.1, tensors: [], seconds: 60,
    })); // prettier-ignore
    results[3] = { ...results[3], ratio: 50, fileBytes: 21_329 };
    const record: SweepRecord = { example: 'compress-mnist', network: 'LeNet-300-100', origin: 'MNIST', backend: 'cpu', vary: plan.vary, results, failures: [{ id: 'x', seed: 3, varied: ['retraining.tau=0.09', 'retraining.values=means'], reason: 'no <memory>' }] };
    const html = renderSweep(record);
    expect(html.match(/<tr class="marked">/g)).toHaveLength(3);
    expect(html).toContain('<th>tau</th><th>values</th><th>seed</th>');
    expect(html).toContain('<td>0.01</td><td>centroids</td><td>1</td><td>1.80</td><td>1.70</td><td>1.85</td><td>9500</td><td>112.3×</td>');
    expect(html).toContain('<td>0.09</td><td>means</td><td>3</td><td>no &lt;memory&gt;</td>');
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    const directory = mkdtempSync(join(tmpdir(), 'tfws-sweep-'));
    try {
      expect(writeSweepReport(record, directory).png).toBe(join(directory, 'report.png'));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('the networks of the compression examples', () => {
  it.each([['compress-mnist', 266_610], ['compress-lenet5', 431_080], ['wide-mnist', 2_084_110]])('%s has %i parameters, and a seed determines them', (name, parameters) => {
    const { build, inputShape } = SUBJECTS[name];
    const [a, b, other] = [1, 1, 2].map((seed) => build(inputShape(28, 28), seed));
    expect(a.countParams()).toBe(parameters);
    const first = (model: tfl.LayersModel) => model.getWeights()[0].dataSync().slice(0, 5);
    expect(first(a)).toEqual(first(b));
    expect(first(other)).not.toEqual(first(a));
    for (const model of [a, b, other]) model.dispose();
  });
});

describe('mixtures of several layers', () => {
  it('are together one mixture, each with the share of its weights', () => {
    const one = { mixture: { means: [0, 1], variances: [0.1, 0.2], mixing: [0.9, 0.1] } };
    const other = { mixture: { means: [0, -2], variances: [0.3, 0.4], mixing: [0.5, 0.5] } };
    const { means, variances, mixing } = unionOf([one, other], [0.75, 0.25]);
    expect([means, variances]).toEqual([[0, 1, 0, -2], [0.1, 0.2, 0.3, 0.4]]); // prettier-ignore
    [0.675, 0.075, 0.125, 0.125].forEach((share, j) => expect(mixing[j]).toBeCloseTo(share, 12));
    expect(() => unionOf([{ mixture: null }], [1])).toThrow('retrain: a prior has no mixture after training');
  });
});
