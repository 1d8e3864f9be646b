import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../examples/common/random.js';
import { characters, encode, generatedText, readTextData, shuffled, vocabularyOf, windowsOf, wordsOf } from '../../examples/common/text.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tfws-text-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('text as tokens', () => {
  it('splits lines into words and ends each line, empty ones too', () => {
    expect(wordsOf('a  b\n\n c\n')).toEqual(['a', 'b', '<eos>', '<eos>', 'c', '<eos>']);
    expect(wordsOf('a')).toEqual(['a', '<eos>']);
  });

  it('orders a vocabulary by count, then by text, and keeps a place for unknown words', () => {
    const tokens = ['b', 'a', 'b', 'c', 'a', 'd'];
    expect(vocabularyOf(tokens, 1, null)).toEqual(['a', 'b', 'c', 'd']);
    expect(vocabularyOf(tokens, 2, '<unk>')).toEqual(['a', 'b', '<unk>']);
    expect([...encode(['a', 'd', 'b'], ['a', 'b', '<unk>'], '<unk>')]).toEqual([0, 2, 1]);
    expect(() => encode(['d'], ['a'], null)).toThrow("text: 'd' is not in the vocabulary of 1, and no token stands for unknown ones.");
  });

  it('reads WikiText by words, gzipped or not, with a vocabulary of the training part alone', () => {
    writeFileSync(join(directory, 'valid.txt'), `${'x y z w '.repeat(5)}\nheld out\n`);
    writeFileSync(join(directory, 'test.txt.gz'), gzipSync('x new y\n'));
    const data = readTextData(directory);
    expect([data.level, data.vocabulary]).toEqual(['word', ['w', 'x', 'y', 'z', '<unk>']]);
    expect([data.train.length, data.validation.length]).toEqual([21, 3]);
    expect([...data.test].map((id) => data.vocabulary[id])).toEqual(['x', '<unk>', 'y', '<unk>']);
  });

  it('reads one text by characters, and says what it looks for', () => {
    writeFileSync(join(directory, 'input.txt'), 'abab\n'.repeat(20));
    const data = readTextData(directory);
    expect([data.level, data.vocabulary, data.train.length, data.validation.length, data.test.length]).toEqual(['character', ['a', 'b', '\n'], 90, 5, 5]);
    expect(characters('x', 'aab').vocabulary).toEqual(['a', 'b']);
    rmSync(join(directory, 'input.txt'));
    expect(() => readTextData(directory)).toThrow('expected valid.txt and test.txt (WikiText-2, by words) or input.txt (one text, by characters), gzipped or not.');
  });

  it('makes up the same sentences each time, with every word in the vocabulary', () => {
    const data = generatedText(3000);
    expect(data).toEqual(generatedText(3000));
    expect(data.train.length + data.validation.length + data.test.length).toBeGreaterThanOrEqual(3000);
    expect(data.vocabulary).toContain('.');
    expect(data.vocabulary.length).toBeGreaterThan(100);
  });
});

describe('windows', () => {
  const ids = Int32Array.from({ length: 10 }, (_, i) => 10 + i);

  it('predict each token from the ones before it, the first from itself repeated', () => {
    const { inputs, targets, rows, inputLength } = windowsOf(ids, 3, 2);
    expect([rows, inputLength]).toEqual([3, 4]);
    expect([...inputs.subarray(0, 4)]).toEqual([10, 10, 11, 12]);
    expect([...targets.subarray(0, 3)]).toEqual([11, 12, 13]);
    expect([...inputs.subarray(4, 8)]).toEqual([12, 13, 14, 15]);
    expect([...targets]).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19]);
    expect(() => windowsOf(ids.subarray(0, 3), 3, 2)).toThrow('windowsOf: 3 tokens do not fill a row of 3 predictions.');
  });

  it('are shuffled by whole rows, inputs and targets alike', () => {
    const windows = windowsOf(ids, 1, 1);
    const mixed = shuffled(windows, seededRandom(1));
    expect([...mixed.targets]).toEqual([...mixed.inputs].map((id) => id + 1));
    expect([...mixed.inputs].sort()).toEqual([...windows.inputs]);
    expect([...mixed.inputs]).not.toEqual([...windows.inputs]);
  });
});
