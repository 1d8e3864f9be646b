import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { renderDigits, renderedDigits } from '../../examples/common/digits.js';

describe('rendered digits', () => {
  it('are the same bytes for the same seed and others for another', () => {
    const digest = (seed: number) => createHash('sha256').update(renderDigits(50, seed).images).digest('hex');
    expect(digest(3)).toBe(digest(3));
    expect(digest(3)).not.toBe(digest(4));
  });

  it('are balanced and in random order', () => {
    const { labels } = renderDigits(200, 1);
    const counts = Array(10).fill(0);
    for (const label of labels) counts[label]++;
    expect(counts).toEqual(Array(10).fill(20));
    expect([...labels.subarray(0, 10)]).not.toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('are dark strokes in the middle of an empty image', () => {
    const { images, labels } = renderDigits(300, 2);
    for (let i = 0; i < labels.length; i++) {
      const image = images.subarray(i * 784, (i + 1) * 784);
      const ink = image.reduce((sum, v) => sum + v, 0) / 255;
      expect(ink).toBeGreaterThan(8);
      expect(ink).toBeLessThan(250);
    }
    let corners = 0;
    for (let i = 0; i < labels.length; i++) corners += images[i * 784] + images[i * 784 + 783];
    expect(corners / (2 * labels.length)).toBeLessThan(10);
  });

  it('can be told apart by their nearest class mean far better than by chance, and not perfectly', () => {
    const train = renderDigits(1000, 5);
    const test = renderDigits(300, 6);
    const means = Array.from({ length: 10 }, () => new Float64Array(784));
    train.labels.forEach((label, i) => means[label].forEach((_, p) => (means[label][p] += train.images[i * 784 + p] / 100)));
    let right = 0;
    test.labels.forEach((label, i) => {
      const distances = means.map((mean) => mean.reduce((sum, m, p) => sum + (m - test.images[i * 784 + p]) ** 2, 0));
      if (distances.indexOf(Math.min(...distances)) === label) right++;
    });
    expect(right / 300).toBeGreaterThan(0.55);
    expect(right / 300).toBeLessThan(0.97);
  });

  it('come as training, validation and test sets that share no image', () => {
    const data = renderedDigits(30, 20, 20);
    const keys = [data.train, data.validation, data.test].flatMap(({ images, labels }) =>
      Array.from(labels, (_, i) => createHash('sha256').update(images.subarray(i * 784, (i + 1) * 784)).digest('hex')),
    );
    expect(new Set(keys).size).toBe(70);
  });
});
