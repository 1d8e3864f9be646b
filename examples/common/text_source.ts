/** Where the language models of the examples get their text from. */
import { generatedText, readTextData, type Level, type TextData } from './text.js';

/** What a record says of its text. */
export interface AboutText {
  origin: string;
  level: Level;
  /** Different tokens. */
  vocabulary: number;
  train: number;
  validation: number;
  test: number;
}

/** The option --data. */
export const TEXT_OPTION = { help: 'folder with valid.txt and test.txt (WikiText-2, by words) or input.txt (one text, by characters), gzipped or not; else it makes up sentences', env: 'TFWS_TEXT' };

export function loadText(directory: string | null): { data: TextData; about: AboutText; line: string } {
  const data = directory === null ? generatedText() : readTextData(directory);
  const { origin, level, vocabulary, train, validation, test } = data;
  const about = { origin, level, vocabulary: vocabulary.length, train: train.length, validation: validation.length, test: test.length };
  const tokens = level === 'word' ? 'words' : 'characters';
  return { data, about, line: `${origin}: ${about.train} ${tokens} to train, ${about.validation} held out, ${about.test} to test; ${about.vocabulary} different ones.` };
}
