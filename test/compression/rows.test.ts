import * as tf from '@tensorflow/tfjs-core';
import { layers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { encodeModelArtifacts } from '../../src/compression/container.js';
import { decodeContainer } from '../../src/compression/container_reader.js';
import { codeNumber, RangeDecoder, RangeEncoder } from '../../src/compression/range_coder.js';
import { rowLabels } from '../../src/compression/row_plan.js';
import { sizeReport } from '../../src/compression/size_report.js';
import { codeTensor, newHistory, ROWS } from '../../src/compression/tensor_codec.js';
import { seeded } from '../contract/fixtures.js';
import { seededNormal } from '../helpers.js';

/** `rows` rows of `columns` normal numbers, row r a copy of row `from(r)`; null is a row of zeros. */
function tiedRows(rows: number, columns: number, from: (row: number) => number | null): Float32Array {
  const normal = seededNormal(4);
  const values = Float32Array.from({ length: rows * columns }, normal);
  return values.map((_, i) => {
    const source = from(Math.floor(i / columns));
    return source === null ? 0 : values[source * columns + (i % columns)];
  });
}
const artifactsOf = (values: Float32Array, shape: number[]) => ({ weightSpecs: [{ name: 'kernel', shape, dtype: 'float32' as const }], weightData: values.buffer as ArrayBuffer });

describe('tensors with equal rows', () => {
  it('take the bytes of their distinct rows, and come back bit for bit', async () => {
    const values = tiedRows(200, 50, (r) => (r < 100 ? null : r % 9));
    const artifacts = artifactsOf(values, [200, 50]);
    const bytes = encodeModelArtifacts(artifacts);
    // Nine rows of float32, whose upper bytes are coded; a byte for each of the 100 that are not zero; 100 for all else.
    expect(bytes.length).toBeLessThan(9 * 50 * 4 + 200);
    expect(new Float32Array(decodeContainer(bytes).weightData as ArrayBuffer)).toEqual(values);
    const { weights } = await sizeReport(bytes);
    expect(weights[0]).toMatchObject({ encoding: 'rows', rows: 200, distinctRows: 10, parameters: 10_000 });
    expect(weights[0].totalBytes).toBeGreaterThan(0.8 * 9 * 50 * 4);
  });

  it('come back with any number of distinct rows, −0, NaN and quantised values among them', () => {
    const awkward = tiedRows(700, 8, (r) => r % 300).map((w, i) => (i % 17 === 0 ? NaN : i % 5 === 0 ? -0 : w));
    for (const values of [awkward, awkward.map((w) => Math.round(w)), tiedRows(40, 3, (r) => r >> 1), tiedRows(3, 2, () => 0), tiedRows(2, 2, () => 1)]) {
      const columns = values.length === awkward.length ? 8 : values.length === 120 ? 3 : 2;
      const decoded = decodeContainer(encodeModelArtifacts(artifactsOf(values, [values.length / columns, columns]))).weightData as ArrayBuffer;
      expect(new Uint32Array(decoded)).toEqual(new Uint32Array(values.buffer));
    }
  });

  it('are told from values that only repeat: quantised weights stay with their codebook', async () => {
    const values = tiedRows(64, 64, (r) => r).map((w) => Math.sign(w));
    expect((await sizeReport(artifactsOf(values, [64, 64]))).weights[0]).toMatchObject({ encoding: 'indices', distinctRows: 64 });
  });

  it('are counted by input channel in convolutions, and not at all in vectors', async () => {
    const model: LayersModel = sequential({ layers: [layers.conv2d({ filters: 4, kernelSize: 3, inputShape: [5, 5, 6] })] });
    const kernel = seeded([3, 3, 6, 4], 2);
    model.setWeights([tf.gather(kernel, tf.tensor1d([0, 1, 0, 1, 0, 5], 'int32'), 2), tf.zeros([4])]);
    const { weights } = await sizeReport(model);
    expect(weights.map(({ rows, distinctRows }) => [rows, distinctRows])).toEqual([[6, 3], [0, 0]]); // prettier-ignore
  });

  it('number their rows as they first appear', () => {
    const { labels, firsts } = rowLabels(Uint8Array.of(1, 2, 129, 141, 1, 2, 141, 129), 2);
    expect([Array.from(labels), firsts]).toEqual([[0, 1, 0, 2], [0, 1, 3]]); // prettier-ignore
  });

  it('are refused where a file announces as many distinct rows as rows', () => {
    const encoder = new RangeEncoder();
    codeNumber(encoder, ROWS);
    codeNumber(encoder, 3);
    const decoder = new RangeDecoder(encoder.finish(), 0);
    expect(() => codeTensor(decoder, { bytes: new Uint8Array(4 * 8), width: 4, columns: 2 }, newHistory())).toThrow('an index is out of range');
  });
});
