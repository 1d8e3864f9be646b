import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { EXAMPLES, listing, run } from '../../examples/run.js';
import { duration, lineProgress } from '../../examples/common/progress.js';
import { learningRateAt, overrideSettings } from '../../examples/common/compression/settings.js';
import { MNIST_SETTINGS } from '../../examples/compress-mnist/settings.js';

const folder = fileURLToPath(new URL('../../examples/', import.meta.url));

describe('npm run example', () => {
  it('lists every folder with a main.ts, each with one line', () => {
    const found = readdirSync(folder).filter((name) => existsSync(`${folder}${name}/main.ts`));
    expect(Object.keys(EXAMPLES).sort()).toEqual(found.sort());
    for (const [name, line] of Object.entries(EXAMPLES)) expect(listing().split('\n').some((row) => row.startsWith(`  ${name} `) && row.endsWith(`  ${line}`)), name).toBe(true);
  });

  it('refuses an unknown name with the list', async () => {
    await expect(run(['nope'])).rejects.toThrow(/^There is no example 'nope'\.\nExamples [\s\S]*compress-mnist/);
    await expect(run(['toString'])).rejects.toThrow("There is no example 'toString'.");
  });
});

describe('progress in lines', () => {
  it('speaks at every tenth with the time left, counting from where it starts', () => {
    let time = 0;
    const lines: string[] = [];
    const progress = lineProgress('work', 100, 50, (line) => lines.push(line), () => time);
    for (let done = 51; done <= 100; done++) {
      time += 1000;
      progress.update(done, done === 70 ? 'note' : '');
    }
    progress.finish('end');
    expect(lines).toEqual(['work: 60 %, 40 s left', 'work: 70 %, 30 s left, note', 'work: 80 %, 20 s left', 'work: 90 %, 10 s left', 'work: done in 50 s, end']);
    expect(duration(125)).toBe('2 min 05 s');
  });
});

describe('settings', () => {
  it('take assignments of known names and the same kind, and refuse others', () => {
    const changed = overrideSettings(MNIST_SETTINGS, ['retraining.tau=0.01', 'comparison.clusters=[2,4]', 'retraining.values=centroids']);
    expect([changed.retraining.tau, changed.comparison.clusters, changed.retraining.values]).toEqual([0.01, [2, 4], 'centroids']);
    expect(MNIST_SETTINGS.comparison.clusters).not.toEqual([2, 4]);
    expect(() => overrideSettings(MNIST_SETTINGS, ['retraining.tua=1'])).toThrow(
      /--set: expected section\.name=value with a known name, got 'retraining\.tua=1'\. Names: baseline\.epochs, .*retraining\.tau/,
    );
    expect(() => overrideSettings(MNIST_SETTINGS, ['baseline.epochs=many'])).toThrow(/--set: baseline\.epochs must be a number such as \d+, got 'many'\./);
  });

  it('let the learning rate stay for half of the epochs, then fall linearly to the last', () => {
    expect([0, 1, 2, 3, 4].map((epoch) => Number(learningRateAt(epoch, { epochs: 5, learningRate: 1, finalLearningRate: 0.1 }).toFixed(6)))).toEqual([1, 1, 1, 0.7, 0.1]);
    expect(learningRateAt(0, { epochs: 1, learningRate: 1, finalLearningRate: 0.1 })).toBe(1);
    expect([2, 3, 4].map((epoch) => learningRateAt(epoch, { epochs: 5, learningRate: 1, finalLearningRate: 0 }, 3))).toEqual([1, 1, 0]);
  });
});
