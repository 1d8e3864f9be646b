/**
 * A deep equilibrium Transformer (Bai, Kolter & Koltun 2019) as a language model beside the same cell a fixed number of times, and beside as many
 * different cells: perplexity, memory and time of a step, residuals.
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
    name: 'deq-language-model',
    description: 'Trains the equilibrium of a Transformer cell as a language model beside the same cell a few times and a standard Transformer as deep. Without --data it makes up its own sentences.',
    format: RECORD_FORMAT,
    data: TEXT_OPTION,
    setting: 'training.epochs=10 stability.jacobianPenalty=0.5',
    load: (directory, settingsOf) => ({ ...loadText(directory), settings: settingsOf(directory === null ? GENERATED : SETTINGS) }),
    variants: () => VARIANTS,
    run: runVariant,
    headline,
    table,
    summarize,
    writeReport,
  });
