/**
 * Attention shared between adjacent layers (Xiao et al. 2019) in a language model: not at all, in pairs, and where a comparison of the layers found them alike;
 * decoding speed and test loss.
 */
import type { Command } from 'commander';
import { generatedText, readTextData } from '../common/text.js';
import { variantCommand } from '../common/variant_command.js';
import { decodingSpeeds } from './decoding.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, runsOf, summarize, type About, type RunRecord } from './record.js';
import { headline, table, writeReport } from './report.js';
import { GENERATED, SETTINGS, VARIANTS, type VariantName } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'shared-attention',
    description: 'Trains language models whose layers share attention not at all, in pairs, or where they are alike, and compares loss and decoding speed.',
    format: RECORD_FORMAT,
    data: { help: 'folder with input.txt (one text, by characters) or valid.txt and test.txt (WikiText-2, by words), gzipped or not; else it makes up sentences', env: 'TFWS_TEXT' },
    setting: 'training.epochs=20 sharing.threshold=0.85',
    load(directory) {
      const data = directory === null ? generatedText() : readTextData(directory);
      const { origin, level, vocabulary, train, validation, test } = data;
      const about: About = { origin, level, vocabulary: vocabulary.length, train: train.length, validation: validation.length, test: test.length };
      const line = `${origin}: ${train.length} tokens to train, ${validation.length} held out, ${test.length} to test; ${vocabulary.length} different ones.`;
      return { data, about, line, settings: directory === null ? GENERATED : SETTINGS };
    },
    variants: () => VARIANTS,
    run: runVariant,
    measure: (record: RunRecord) => decodingSpeeds(record.data.vocabulary, record.settings, Object.fromEntries(VARIANTS.map((variant) => [variant, runsOf(record, variant)[0].policy])) as Record<VariantName, number[]>),
    headline,
    table,
    summarize,
    writeReport,
  });
