/** Text as numbered tokens: reading, splitting into words or characters, vocabularies, and windows for next-token prediction. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { seededRandom, shuffledIndices, type Random } from './random.js';

export type Level = 'word' | 'character';

export interface TextData {
  /** Where the text comes from and how it is split, in words: goes into the report. */
  origin: string;
  level: Level;
  /** Token by id. */
  vocabulary: string[];
  train: Int32Array;
  /** Held-out training text: everything is chosen on it. */
  validation: Int32Array;
  /** Read once, at the end. */
  test: Int32Array;
}

/** Stands for every word that is not in the vocabulary; WikiText writes it so itself. */
export const UNKNOWN = '<unk>';
const END_OF_LINE = '<eos>';
/** Words seen less often in the training text are unknown. */
export const LEAST_COUNT = 3;

/** Reads `name` or `name.gz` from a folder as UTF-8. */
export function readText(directory: string, name: string): string {
  const plain = join(directory, name);
  if (existsSync(plain)) return readFileSync(plain, 'utf8');
  if (existsSync(`${plain}.gz`)) return gunzipSync(readFileSync(`${plain}.gz`)).toString('utf8');
  throw new Error(`${plain}: no such file, nor ${name}.gz.`);
}

/** Words between spaces, and an end-of-line token after each line, empty ones included. */
export function wordsOf(text: string): string[] {
  const lines = text.endsWith('\n') ? text.slice(0, -1).split('\n') : text.split('\n');
  return lines.flatMap((line) => [...line.split(' ').filter((word) => word !== ''), END_OF_LINE]);
}

/** Tokens seen at least `least` times, the commonest first; with `unknown` also that one, wherever its count puts it. */
export function vocabularyOf(tokens: readonly string[], least: number, unknown: string | null): string[] {
  const counts = new Map<string, number>();
  for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  const known = [...counts].filter(([, count]) => count >= least);
  if (unknown !== null && !known.some(([token]) => token === unknown)) known.push([unknown, 0]);
  // By count, then by the text itself: the same vocabulary on every machine.
  return known.sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([token]) => token);
}

/** The ids of tokens; what the vocabulary lacks becomes `unknown`, or is an error where that is null. */
export function encode(tokens: readonly string[], vocabulary: readonly string[], unknown: string | null): Int32Array {
  const ids = new Map(vocabulary.map((token, id) => [token, id]));
  const fallback = unknown === null ? undefined : ids.get(unknown);
  return Int32Array.from(tokens, (token) => {
    const id = ids.get(token) ?? fallback;
    if (id === undefined) throw new Error(`text: '${token}' is not in the vocabulary of ${vocabulary.length}, and no token stands for unknown ones.`);
    return id;
  });
}

function wordLevel(origin: string, train: readonly string[], validation: readonly string[], test: readonly string[]): TextData {
  const vocabulary = vocabularyOf(train, LEAST_COUNT, UNKNOWN);
  const ids = (tokens: readonly string[]) => encode(tokens, vocabulary, UNKNOWN);
  return { origin, level: 'word', vocabulary, train: ids(train), validation: ids(validation), test: ids(test) };
}

/** WikiText-2 without its training split: of `valid.txt` the last tenth is held out and the rest trained on; `test.txt` is the test. */
export function wikiText(directory: string): TextData {
  const words = wordsOf(readText(directory, 'valid.txt'));
  const cut = Math.floor(0.9 * words.length);
  return wordLevel('WikiText-2, its validation split to train on', words.slice(0, cut), words.slice(cut), wordsOf(readText(directory, 'test.txt')));
}

/** Characters of one text: the first nine tenths to train on, half of the rest held out, the other half to test. */
export function characters(origin: string, text: string): TextData {
  const all = [...text];
  const vocabulary = vocabularyOf(all, 1, null);
  const ids = encode(all, vocabulary, null);
  const [first, second] = [Math.floor(0.9 * ids.length), Math.floor(0.95 * ids.length)];
  return { origin, level: 'character', vocabulary, train: ids.slice(0, first), validation: ids.slice(first, second), test: ids.slice(second) };
}

/** What a folder holds: WikiText-2 (valid.txt and test.txt) by words, or one text (input.txt) by characters, gzipped or not. */
export function readTextData(directory: string): TextData {
  const has = (name: string) => existsSync(join(directory, name)) || existsSync(join(directory, `${name}.gz`));
  if (has('valid.txt') && has('test.txt')) return wikiText(directory);
  if (has('input.txt')) return characters('tinyshakespeare', readText(directory, 'input.txt'));
  throw new Error(`${directory}: expected valid.txt and test.txt (WikiText-2, by words) or input.txt (one text, by characters), gzipped or not.`);
}

/** Consecutive stretches of a text, for predicting each next token. */
export interface Windows {
  /** [rows, context + length − 1] ids; before the text stands its first token. */
  inputs: Int32Array;
  /** [rows, length] ids: what follows each position from the `context`-th on. */
  targets: Int32Array;
  rows: number;
  inputLength: number;
  length: number;
}

/** Cuts `ids` into rows of `length` predictions, each from the `context` tokens before it; what does not fill a row is left out. */
export function windowsOf(ids: Int32Array, length: number, context: number): Windows {
  const rows = Math.floor((ids.length - 1) / length);
  if (rows < 1) throw new Error(`windowsOf: ${ids.length} tokens do not fill a row of ${length} predictions.`);
  const inputLength = context + length - 1;
  const inputs = new Int32Array(rows * inputLength);
  const targets = new Int32Array(rows * length);
  for (let row = 0; row < rows; row++) {
    const start = row * length - (context - 1);
    for (let i = 0; i < inputLength; i++) inputs[row * inputLength + i] = ids[Math.max(0, start + i)];
    targets.set(ids.subarray(row * length + 1, row * length + 1 + length), row * length);
  }
  return { inputs, targets, rows, inputLength, length };
}

export function firstRows(windows: Windows, rows: number): Windows {
  const { inputs, targets, inputLength, length } = windows;
  return { ...windows, rows, inputs: inputs.subarray(0, rows * inputLength), targets: targets.subarray(0, rows * length) };
}

/** The rows of `windows` in a random order. */
export function shuffled(windows: Windows, random: Random): Windows {
  const { inputs, targets, rows, inputLength, length } = windows;
  const order = shuffledIndices(rows, random);
  const result = { ...windows, inputs: new Int32Array(inputs.length), targets: new Int32Array(targets.length) };
  order.forEach((from, to) => {
    result.inputs.set(inputs.subarray(from * inputLength, (from + 1) * inputLength), to * inputLength);
    result.targets.set(targets.subarray(from * length, (from + 1) * length), to * length);
  });
  return result;
}

/** Words that come in kinds; a word's kind, not the word, decides where it can stand, so that similar words share contexts. */
const KINDS: Record<string, string[]> = {
  article: ['the', 'a', 'this', 'every', 'some', 'no'],
  quality: 'old young small tall quiet loud bright dark slow quick gentle proud tired hungry happy angry clever simple golden silver'.split(' '),
  person: 'king queen sailor farmer baker teacher doctor singer painter soldier child woman man boy girl judge miller priest thief poet'.split(' '),
  animal: 'dog cat horse cow fox wolf bear bird owl crow hare mouse goat sheep duck goose frog snake bee ant'.split(' '),
  thing: 'stone apple bread lamp book letter crown sword ring basket ladder boat wheel bell mirror candle coat drum chair table'.split(' '),
  place: 'house river forest village mountain garden market castle bridge field harbour mill church tower road valley island cave shore well'.split(' '),
  move: 'walks runs goes comes wanders hurries climbs swims rides returns'.split(' '),
  handle: 'takes finds loses carries breaks mends sells buys hides shows wants steals paints holds drops'.split(' '),
  meet: 'sees meets follows loves fears helps leaves calls hears watches'.split(' '),
  where: ['to', 'from', 'through', 'near', 'behind', 'beyond'],
  time: ['today', 'often', 'never', 'always', 'again', 'slowly', 'early', 'late'],
};
const SENTENCES = [
  'article quality person move where article place .',
  'article person handle article quality thing .',
  'article animal meet article quality person time .',
  'article quality animal move time where article place .',
  'article person meet article person where article place .',
  'article animal handle article thing where article quality place .',
];

/** Sentences that the example makes up, for a machine without data or network. */
export function generatedText(tokens = 60_000): TextData {
  const random = seededRandom(2017);
  // Zipf-like: the commoner words stand first in each kind.
  const pick = (words: string[]) => words[Math.floor(words.length * random.uniform() ** 2)];
  const words: string[] = [];
  while (words.length < tokens) {
    const sentence = SENTENCES[random.integer(SENTENCES.length)].split(' ');
    words.push(...sentence.map((kind) => (kind in KINDS ? pick(KINDS[kind]) : kind)), END_OF_LINE);
  }
  const [first, second] = [Math.floor(0.8 * words.length), Math.floor(0.9 * words.length)];
  return wordLevel('sentences made up by a small grammar', words.slice(0, first), words.slice(first, second), words.slice(second));
}
