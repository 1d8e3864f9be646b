/**
 * A deep equilibrium network on digits (Bai, Koltun & Kolter 2020, on one resolution) beside the same cell applied a fixed number of times, and beside
 * different cells with as many parameters: test error, memory and time of a step, and how fast solvers converge.
 */
import type { Command } from 'commander';
import { renderedDigits } from '../common/digits.js';
import { countOf } from '../common/images.js';
import { readMnist } from '../common/mnist.js';
import { variantCommand } from '../common/variant_command.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, summarize, type About } from './record.js';
import { headline, table, writeReport } from './report.js';
import { MNIST_SETTINGS, RENDERED_COUNTS, RENDERED_SETTINGS, VARIANTS } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'deq-mnist',
    description: 'Trains the equilibrium of a cell beside the same cell a fixed number of times and an explicit network as large. Without --data it draws its own digits.',
    format: RECORD_FORMAT,
    data: { help: 'folder with the four IDX files of MNIST, gzipped or not', env: 'TFWS_MNIST' },
    setting: 'training.epochs=10 model.filters=24',
    load(directory, settingsOf) {
      const data = directory === null ? renderedDigits(RENDERED_COUNTS.train, RENDERED_COUNTS.validation, RENDERED_COUNTS.test) : readMnist(directory);
      const about: About = { origin: data.origin, train: countOf(data.train), validation: countOf(data.validation), test: countOf(data.test) };
      const line = `${about.origin}: ${about.train} images to train, ${about.validation} held out, ${about.test} to test.`;
      return { data, about, line, settings: settingsOf(directory === null ? RENDERED_SETTINGS : MNIST_SETTINGS) };
    },
    variants: () => VARIANTS,
    run: runVariant,
    headline,
    table,
    summarize,
    writeReport,
  });
