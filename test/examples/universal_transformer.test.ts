import * as tf from '@tensorflow/tfjs-core';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../examples/common/random.js';
import { runVariant } from '../../examples/universal-transformer/job.js';
import { batchOf, IGNORED, positionSignals, sequenceModel } from '../../examples/universal-transformer/model.js';
import { RECORD_FORMAT, summarize, type Run, type RunRecord } from '../../examples/universal-transformer/record.js';
import { renderHtml, renderPictures, table, writeReport } from '../../examples/universal-transformer/report.js';
import { MODELS, rateAt, SETTINGS, variantsOf, type Settings, type VariantName } from '../../examples/universal-transformer/settings.js';
import { digitsFor, END, pairOf, pairsOf, PLUS, START, sumOf, SYMBOLS } from '../../examples/universal-transformer/tasks.js';

const tiny: Settings = {
  data: { tasks: ['copy', 'addition'], trainLength: 3, heldOut: [4], test: [5], samples: 4 },
  model: { width: 4, universalWidth: 4, heads: 2, depth: 2, lstmUnits: 5 },
  adaptive: { steps: 3, haltingBias: -1, ponderWeight: 0.01 },
  training: { steps: 8, batchSize: 4, learningRate: 0.02 },
};
const watch = { check: async () => {}, stop: () => {} };

describe('the tasks of the example', () => {
  it('copy, reverse and add, the last digit first', () => {
    const [copy, reverse] = (['copy', 'reverse'] as const).map((task) => pairOf(task, 4, seededRandom(1)));
    expect(copy.answer).toEqual(copy.question);
    expect(reverse.answer).toEqual([...reverse.question.slice(0, 4).reverse(), END]);
    expect(sumOf([9, 4, 0], [3, 5, 9])).toEqual({ answer: [2, 0, 0, 1, END], carries: [false, true, true, true, false] });
    const { question, answer } = pairOf('addition', 8, seededRandom(2));
    const value = (digits: number[]) => Number(digits.slice().reverse().join(''));
    expect(digitsFor(8)).toBe(3);
    expect(question.slice(3, 4)).toEqual([PLUS]);
    expect(value(answer.slice(0, 4))).toBe(value(question.slice(0, 3)) + value(question.slice(4, 7)));
  });

  it('are one sequence each, with the question and the answer at the same positions, and only the answer to predict', () => {
    const pairs = [{ question: [5, 6, END], answer: [6, 5, END], carries: null }];
    const signals = positionSignals(6, 2);
    const { xs, ys } = batchOf(pairs, 'universal', signals, [2]);
    expect(Array.from(xs[0].dataSync())).toEqual([5, 6, END, SYMBOLS + START, SYMBOLS + 6, SYMBOLS + 5]);
    expect(Array.from(ys.dataSync())).toEqual([IGNORED, IGNORED, IGNORED, 6, 5, END]);
    const rows = xs[1].arraySync() as number[][][];
    expect(rows[0].slice(0, 3)).toEqual(rows[0].slice(3));
    expect(rows[0][0][0]).toBeCloseTo(Math.sin(2), 5);
    expect(rows[0][1][1]).toBeCloseTo(Math.cos(3), 5);
  });
});

describe('the models of the example', () => {
  it('differ in weights by what is shared, and predict from what stands before alone', () => {
    const [pair] = pairsOf('copy', 4, 1, seededRandom(3));
    const signals = positionSignals(8, tiny.model.width);
    const counts = MODELS.map((name) => {
      const model = sequenceModel(name, tiny, 1);
      const outputs = [pair, { ...pair, answer: [...pair.answer.slice(0, 3), (pair.answer[3] + 1) % 10, END] }].map((each) => {
        const { xs } = batchOf([each], name, signals, [0]);
        return (model.predict(xs) as tf.Tensor).arraySync() as number[][][];
      });
      expect(outputs[0][0].slice(0, 9), name).toEqual(outputs[1][0].slice(0, 9));
      expect(outputs[0][0][9], name).not.toEqual(outputs[1][0][9]);
      return model.countParams();
    });
    const shell = 2 * SYMBOLS * 4 + 4 * SYMBOLS + SYMBOLS;
    expect(counts[1] - shell).toBe(2 * (counts[2] - shell));
    expect(counts[3] - counts[2], 'one halting unit').toBe(5);
  });

  it.each(['addition lstm', 'copy transformer', 'copy universal', 'addition adaptive'] as const)('train and are tested: %s', async (variant) => {
    const run = await runVariant({ settings: tiny, watch }, variant, 1);
    expect(run.checkpoints.at(-1)!.step).toBe(8);
    expect(run.checkpoints.at(-1)!.loss).toBeLessThan(run.checkpoints[0].loss);
    expect(run.accuracies.map(({ set, length }) => [set, length])).toEqual([['trained', null], ['heldOut', 4], ['test', 5]]);
    for (const { sequence, character } of run.accuracies) expect(sequence).toBeLessThanOrEqual(character);
    expect(run.ponder.map(({ set }) => set)).toEqual(variant === 'addition adaptive' ? ['trained', 'test'] : []);
    for (const { question, answer, carry } of run.ponder) for (const steps of [question, answer, carry!.with, carry!.without]) expect(steps).toBeGreaterThanOrEqual(1);
  });

  it('learn at a rate that rises and falls', () => {
    const rates = Array.from({ length: 40 }, (_, step) => rateAt(step, 40));
    expect(rates.slice(0, 3)).toEqual([0.5, 1, 1]);
    expect(rates[39]).toBeGreaterThan(0);
    expect(rates[39]).toBeLessThan(0.01);
  });
});

const RIGHT = { lstm: 0.2, transformer: 0.4, universal: 0.8, adaptive: 0.9 };
function syntheticRun(seed: number, variant: VariantName): Run {
  const [task, model] = variant.split(' ') as ['copy', keyof typeof RIGHT];
  const right = RIGHT[model] + 0.01 * seed;
  const ponder = { question: 2.5, answer: 3.5, carry: (task as string) === 'addition' ? { with: 4.25, without: 3.25 } : null, unhalted: 0.125 };
  return {
    seed, variant, parameters: 1234,
    checkpoints: [1, 2].map((i) => ({ step: 100 * i, loss: 2 / i, heldOut: 0.4 * i, ponder: model === 'adaptive' ? 2 + i : null })),
    accuracies: [{ set: 'trained', length: null }, { set: 'heldOut', length: 14 }, { set: 'test', length: 18 }, { set: 'test', length: 24 }].map(({ set, length }) => ({ set, length, sequence: right / 2, character: set === 'test' && length === 24 ? right - 0.1 : right }) as Run['accuracies'][number]),
    ponder: model === 'adaptive' ? [{ set: 'trained', ...ponder }, { set: 'test', ...ponder }] : [],
    seconds: 10,
  }; // prettier-ignore
}
const synthetic = (seeds = [1]): RunRecord => ({
  format: RECORD_FORMAT, data: null, directory: null, backend: 'test <&>', settings: SETTINGS, seeds,
  runs: seeds.flatMap((seed) => variantsOf(SETTINGS).map((variant) => syntheticRun(seed, variant))),
}); // prettier-ignore

describe('its record and report', () => {
  it('are summed up by means over lengths and medians over seeds', () => {
    const summary = summarize(synthetic([1, 2, 3])) as Record<string, Record<string, Record<string, number>>>;
    expect(summary['copy']['adaptive']).toEqual({ trainedSequence: 0.46, trainedCharacter: 0.92, testSequence: 0.46, testCharacter: 0.87 });
    expect(summary['addition']['ponder']).toEqual({ question: 2.5, answer: 3.5, withCarry: 4.25, withoutCarry: 3.25 });
    expect(summary['copy']['ponder']).toEqual({ question: 2.5, answer: 3.5 });
    expect(table(synthetic())[1]).toEqual(['copy', 'LSTM', '1,234', '10.5', '21.0', '10.5', '21.0', '10.5', '16.0']);
  });

  it('are one page with every figure and table, a picture, and nothing loaded from elsewhere', () => {
    const html = renderHtml(synthetic([1, 2]));
    for (const title of ['Copy: symbols right', 'Addition: training', 'Reverse: steps in depth']) expect(html).toContain(`<b>${title}</b>`);
    expect(html.match(/<svg /g)).toHaveLength(9);
    expect(html).toContain('test &lt;&amp;&gt;');
    expect(html).toContain('<td>addition</td><td>test</td><td>2.50</td><td>3.50</td><td>4.25</td><td>3.25</td><td>12.5</td>');
    expect(html).not.toMatch(/\b(src|href)=/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    expect(renderPictures(synthetic())).toContain('Transformer, separate layers');
    const directory = mkdtempSync(join(tmpdir(), 'tfws-report-'));
    try {
      const files = writeReport(synthetic(), directory);
      expect(readFileSync(files.html, 'utf8')).toContain('<!doctype html>');
      expect(readFileSync(files.png).subarray(1, 4).toString()).toBe('PNG');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
