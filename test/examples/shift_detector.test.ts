import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { trainDetector } from '../../examples/shift-detector/methods.js';
import { choose, summarize, type RunRecord } from '../../examples/shift-detector/record.js';
import { renderHtml } from '../../examples/shift-detector/report.js';
import { METHODS, SETTINGS } from '../../examples/shift-detector/settings.js';
import { PLACES, shiftTask } from '../../examples/shift-detector/task.js';

const dispose = (task: ReturnType<typeof shiftTask>) => Object.values(task).forEach(({ xs, ys }) => tf.dispose([xs, ys]));

describe('the shift task', () => {
  it('shifts round the ends, tells the direction, and repeats no case in any part', () => {
    const task = shiftTask(3, { train: 300, validation: 300, test: 400 });
    const seen = new Set<string>();
    let right = 0;
    for (const { xs, ys } of Object.values(task)) {
      const [rows, targets] = [xs.arraySync() as number[][], ys.arraySync() as number[][]];
      rows.forEach((row, i) => {
        const [first, second] = [row.slice(0, PLACES), row.slice(PLACES)];
        const shifted = (by: number) => first.map((_, k) => first[(k + by + PLACES) % PLACES]);
        expect(second).toEqual(shifted(targets[i][0] === 1 ? -1 : 1));
        // What both directions leave the same would have no answer.
        expect(shifted(-1)).not.toEqual(shifted(1));
        seen.add(row.join());
        right += targets[i][0] === 1 ? 1 : 0;
      });
    }
    expect(seen.size).toBe(1000);
    expect(right).toBeGreaterThan(420);
    expect(right).toBeLessThan(580);
    const again = shiftTask(3, { train: 300, validation: 300, test: 400 });
    expect(again.test.xs.arraySync()).toEqual(task.test.xs.arraySync());
    dispose(task);
    dispose(again);
    expect(() => shiftTask(1, { train: 2000, validation: 40, test: 1 })).toThrow('2041 cases were asked for, and there are only 2040 different ones');
  });
});

describe('the methods on it', () => {
  it.each(METHODS)('%s learns more than chance in a few epochs, and leaves no tensor', async (method) => {
    const task = shiftTask(1, { train: 100, validation: 100, test: 100 });
    const before = tf.memory().numTensors;
    const settings = { ...SETTINGS, epochs: 3, passes: 30 };
    const fitted = await trainDetector(method, method === 'weight decay' ? 1e-3 : 1, task, 1, settings);
    expect(fitted.validation).toBeGreaterThan(55);
    expect(fitted.hidden).toHaveLength(2 * PLACES * SETTINGS.hidden);
    expect(fitted.mixture?.means.length ?? 0).toBe(method.startsWith('soft') ? Number(method.split(' ')[2]) : 0);
    // It is learned where there is a prior, and falls from 1, which answering 0 would leave.
    if (method.startsWith('soft')) expect(fitted.noise).toBeLessThan(0.99);
    else expect(fitted.noise).toBeNull();
    expect(tf.memory().numTensors).toBe(before);
    dispose(task);
  });

  it('choose the strength by validation alone', () => {
    const fitted = (validation: number, test: number) => ({ validation, test, epoch: 1, noise: null, hidden: [1, -1], mixture: null });
    const trials = [
      { strength: 1, fitted: [fitted(90, 10), fitted(70, 20)] },
      { strength: 2, fitted: [fitted(84, 5), fitted(80, 7)] },
    ];
    expect(choose(trials)).toBe(1);
    const hidden = Array.from({ length: 2 * PLACES * 2 }, (_, i) => Math.sin(i));
    for (const trial of trials) for (const each of trial.fitted) each.hidden = hidden;
    const record: RunRecord = { backend: 'cpu', settings: SETTINGS, seeds: [1, 2], methods: METHODS.map((method) => ({ method, trials, chosen: 1 })) };
    expect(summarize(record)['weight decay']).toEqual({ test: 6, validation: 82, strength: 2 });
    const html = renderHtml(record);
    expect(html).toContain('<td>soft sharing, 5</td><td>2</td><td>82.0</td><td>6.0</td><td>5.0 … 7.0</td>');
    expect(html).toContain('<td>soft sharing, 5</td><td>1</td><td>80.0</td><td></td><td></td>');
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });
});
