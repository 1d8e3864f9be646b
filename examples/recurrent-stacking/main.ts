/**
 * Recurrent stacking of layers (Dabre & Fujita 2019) in a language model: one layer, one layer six times, ALBERT's groups and six layers, and what each takes in
 * parameters and bytes.
 */
import type { Command } from 'commander';
import { generatedText, readTextData } from '../common/text.js';
import { variantCommand } from '../common/variant_command.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, summarize, type About } from './record.js';
import { headline, table, writeReport } from './report.js';
import { GENERATED, SETTINGS, VARIANTS } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'recurrent-stacking',
    description: 'Trains language models whose layers in depth are one, one again and again, groups, or all distinct, and compares perplexity, parameters and bytes.',
    format: RECORD_FORMAT,
    data: { help: 'folder with input.txt (one text, by characters) or valid.txt and test.txt (WikiText-2, by words), gzipped or not; else it makes up sentences', env: 'TFWS_TEXT' },
    setting: 'training.epochs=10 model.width=128',
    load(directory) {
      const data = directory === null ? generatedText() : readTextData(directory);
      const { origin, level, vocabulary, train, validation, test } = data;
      const about: About = { origin, level, vocabulary: vocabulary.length, train: train.length, validation: validation.length, test: test.length };
      const line = `${origin}: ${train.length} tokens to train, ${validation.length} held out, ${test.length} to test; ${vocabulary.length} different ones.`;
      return { data, about, line, settings: directory === null ? GENERATED : SETTINGS };
    },
    variants: () => VARIANTS,
    run: runVariant,
    headline,
    table,
    summarize,
    writeReport,
  });
