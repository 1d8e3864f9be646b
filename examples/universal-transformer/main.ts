/**
 * Copying, reversing and adding as in the paper of the Universal Transformer (Dehghani et al. 2019, table 3): it, with and without adaptive computation time,
 * beside a Transformer with separate layers and an LSTM; trained on short sequences, tested on longer ones.
 */
import type { Command } from 'commander';
import { variantCommand } from '../common/variant_command.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, summarize } from './record.js';
import { headline, table, writeReport } from './report.js';
import { SETTINGS, variantsOf } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'universal-transformer',
    description: 'Trains Universal Transformers, a Transformer with separate layers and an LSTM to copy, to reverse and to add, and tests them on longer sequences.',
    format: RECORD_FORMAT,
    data: null,
    setting: 'training.steps=20000 data.trainLength=40 data.heldOut=[46,52] data.test=[60,70,80]',
    load(_directory, settingsOf) {
      const settings = settingsOf(SETTINGS);
      return { data: null, settings, about: null, line: `Sequences of up to ${settings.data.trainLength} symbols.` };
    },
    variants: variantsOf,
    run: runVariant,
    headline,
    table,
    summarize,
    writeReport,
  });
