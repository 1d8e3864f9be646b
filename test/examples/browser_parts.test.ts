import { describe, expect, it } from 'vitest';
import { renderDigits } from '../../examples/common/digits.js';
import { droppedFiles } from '../../examples/browser/page/dropped_files.js';
import { countValues, coarser, drawHistogram } from '../../examples/browser/page/histogram.js';
import { readModelFiles } from '../../examples/browser/page/model_files.js';
import { centred, rasterize } from '../../examples/browser/page/strokes.js';

describe('strokes', () => {
  it('are moved to the middle and scaled by one factor', () => {
    const [[a, b]] = centred([[[0.1, 0.2], [0.1, 0.7]]]);
    expect(a).toEqual([13.5, 4.25]);
    expect(b).toEqual([13.5, 22.75]);
    expect(centred([[[0.3, 0.9]]])).toEqual([[[13.5, 13.5]]]);
  });

  it('become as many grey pixels as the digits of the training have, and none without strokes', () => {
    expect(rasterize([]).every((v) => v === 0)).toBe(true);
    const one = rasterize([[[0.5, 0], [0.5, 0.01]]]);
    expect([...one].map((v, i) => (v > 0.5 ? i % 28 : 13)).every((column) => column >= 12 && column <= 15)).toBe(true);
    expect(rasterize([[[0, 0], [1, 0.3]]])).toEqual(rasterize([[[5, 5], [7, 5.6]]]));
    const { images } = renderDigits(100, 1);
    expect(Math.max(...one)).toBeGreaterThan(0.7);
    expect(Math.max(...one)).toBeLessThanOrEqual(Math.max(...images) / 255);
  });
});

describe('histograms', () => {
  it('count values, in bins of another one that goes on to both sides', () => {
    const before = { start: 0, binWidth: 0.5, counts: [1, 2] };
    expect(countValues([new Float32Array([-0.75, 0.25, 0.75, 0.8, NaN]), new Float32Array([1.6])], before)).toEqual({ start: -1, binWidth: 0.5, counts: [1, 0, 1, 2, 0, 1] });
    expect(countValues([new Float32Array([2, 2])]).counts).toEqual([2]);
    expect(countValues([])).toEqual({ start: 0, binWidth: 1, counts: [0] });
  });

  it('join neighbouring bins and lose the empty ends', () => {
    expect(coarser({ start: 0, binWidth: 1, counts: [0, 0, 0, 3, 1, 0, 0, 0, 0] }, 2)).toEqual({ start: 2, binWidth: 2, counts: [3, 1] });
  });

  it('draw a bar for each bin that is not empty', () => {
    const svg = drawHistogram('both', { start: -1, binWidth: 1, counts: [4, 0, 2] }, { start: 0, binWidth: 1, counts: [1] });
    expect(svg.match(/class="before"/g)).toHaveLength(2);
    expect(svg.match(/class="after"/g)).toHaveLength(1);
  });
});

describe('a drop', () => {
  it('gives the files of folders too, also where a reader hands them out in parts', async () => {
    const file = (name: string) => ({ isFile: true, file: (resolve: (file: File) => void) => resolve(new File([], name)) });
    const folder = (parts: object[][]) => ({ isFile: false, createReader: () => ({ readEntries: (resolve: (entries: object[]) => void) => resolve(parts.shift() ?? []) }) });
    const items = [file('a'), folder([[file('b'), folder([[file('c')]])], [file('d')]]), null].map((entry) => ({ webkitGetAsEntry: () => entry }));
    const names = (await droppedFiles({ items, files: [] } as unknown as DataTransfer)).map(({ name }) => name);
    expect(names.sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('gives plain files where the browser knows no entries', async () => {
    const files = [new File([], 'a')];
    expect(await droppedFiles({ items: [{ webkitGetAsEntry: () => null }], files } as unknown as DataTransfer)).toEqual(files);
  });
});

describe('the files of a model', () => {
  const weights = [{ name: 'w', shape: [2, 3], dtype: 'float32' }, { name: 'q', shape: [4], dtype: 'float32', quantization: { dtype: 'uint8', scale: 1, min: 0 } }];
  const json = (value: unknown, name = 'model.json') => new File([JSON.stringify(value)], name);
  const model = (paths: string[]) => json({ modelTopology: {}, weightsManifest: [{ paths, weights }] });
  const bin = (length: number, name = 'w.bin') => new File([new Uint8Array(length)], name);

  it.each([
    ['none', [], /There is no model\.json among no files/],
    ['two models', [json({}, 'a.json'), json({}, 'b.json')], /Which of these is the model: 'a\.json', 'b\.json'\?/],
    ['a compressed one', [new File([], 'small.tfws')], /'small\.tfws' is compressed already/],
    ['a Keras file', [new File([], 'net.keras')], /'net\.keras' is not a TensorFlow\.js model\. Convert it first/],
    ['text', [new File(['hello'], 'model.json')], /model\.json is not JSON \(/],
    ['null', [json(null)], /it lacks modelTopology/],
    ['no manifest', [json({ modelTopology: {} })], /it lacks weightsManifest/],
    ['a wrong manifest', [json({ modelTopology: {}, weightsManifest: [1] })], /not a list of \{paths, weights\}/],
    ['shards missing', [model(['a.bin', 'b.bin'])], /needs 'a\.bin', 'b\.bin', which are missing/],
    ['bytes missing', [model(['w.bin']), bin(27)], /describes 28 bytes of weights in 'w\.bin', but there are 27: truncated/],
    ['bytes too many', [model(['w.bin']), bin(29)], /there are 29: too long/],
  ])('are refused with the reason: %s', async (_, files, message) => {
    await expect(readModelFiles(files)).rejects.toThrow(message);
  });
});
