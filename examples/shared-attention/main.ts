/**
 * Attention shared between adjacent layers (Xiao et al. 2019) in a language model: not at all, in pairs, and where a comparison of the layers found them alike;
 * decoding speed and test loss.
 */
import type { Command } from 'commander';
import { loadText, TEXT_OPTION } from '../common/text_source.js';
import { variantCommand } from '../common/variant_command.js';
import { decodingSpeeds } from './decoding.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, runsOf, summarize, type RunRecord } from './record.js';
import { headline, table, writeReport } from './report.js';
import { GENERATED, SETTINGS, VARIANTS, type VariantName } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'shared-attention',
    description: 'Trains language models whose layers share attention not at all, in pairs, or where they are alike, and compares loss and decoding speed.',
    format: RECORD_FORMAT,
    data: TEXT_OPTION,
    setting: 'training.epochs=20 sharing.threshold=0.85',
    load: (directory, settingsOf) => ({ ...loadText(directory), settings: settingsOf(directory === null ? GENERATED : SETTINGS) }),
    variants: () => VARIANTS,
    run: runVariant,
    measure: (record: RunRecord) => decodingSpeeds(record.data.vocabulary, record.settings, Object.fromEntries(VARIANTS.map((variant) => [variant, runsOf(record, variant)[0].policy])) as Record<VariantName, number[]>),
    headline,
    table,
    summarize,
    writeReport,
  });
