/**
 * Recurrent stacking of layers (Dabre & Fujita 2019) in a language model: one layer, one layer six times, ALBERT's groups and six layers, and what each takes in
 * parameters and bytes.
 */
import type { Command } from 'commander';
import { loadText, TEXT_OPTION } from '../common/text_source.js';
import { variantCommand } from '../common/variant_command.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, summarize } from './record.js';
import { headline, table, writeReport } from './report.js';
import { GENERATED, SETTINGS, VARIANTS } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'recurrent-stacking',
    description: 'Trains language models whose layers in depth are one, one again and again, groups, or all distinct, and compares perplexity, parameters and bytes.',
    format: RECORD_FORMAT,
    data: TEXT_OPTION,
    setting: 'training.epochs=10 model.width=128',
    load: (directory, settingsOf) => ({ ...loadText(directory), settings: settingsOf(directory === null ? GENERATED : SETTINGS) }),
    variants: () => VARIANTS,
    run: runVariant,
    headline,
    table,
    summarize,
    writeReport,
  });
