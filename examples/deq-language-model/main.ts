/**
 * A deep equilibrium Transformer (Bai, Kolter & Koltun 2019) as a language model beside the same cell a fixed number of times, and beside as many
 * different cells: perplexity, memory and time of a step, residuals.
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
    name: 'deq-language-model',
    description: 'Trains the equilibrium of a Transformer cell as a language model beside the same cell a few times and a standard Transformer as deep. Without --data it makes up its own sentences.',
    format: RECORD_FORMAT,
    data: { help: 'folder with input.txt (one text, by characters) or valid.txt and test.txt (WikiText-2, by words), gzipped or not', env: 'TFWS_TEXT' },
    setting: 'training.epochs=10 stability.jacobianPenalty=0.5',
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
