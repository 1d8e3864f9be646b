/**
 * A small language model three times: with an output table of its own, with that of the input (tied), and tied with the augmented loss;
 * perplexities and parameters side by side.
 */
import type { Command } from 'commander';
import { loadText, TEXT_OPTION } from '../common/text_source.js';
import { variantCommand } from '../common/variant_command.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, summarize } from './record.js';
import { headline, table, writeReport } from './report.js';
import { settingsFor, VARIANTS } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'tied-language-model',
    description: 'Trains a language model with untied and tied embeddings. Without --data it makes up its own sentences.',
    format: RECORD_FORMAT,
    data: TEXT_OPTION,
    setting: 'model.width=64',
    load(directory, settingsOf) {
      const text = loadText(directory);
      return { ...text, settings: settingsOf(settingsFor(text.about.level, directory === null)) };
    },
    variants: () => VARIANTS,
    run: runVariant,
    headline,
    table,
    summarize,
    writeReport,
  });
