/**
 * Super-resolution by recursive networks beside an untied one of equal depth, each trained for the same processor time: PSNR and SSIM at ×2, ×3
 * and ×4, parameters, and what they make of a picture.
 */
import type { Command } from 'commander';
import { variantCommand } from '../common/variant_command.js';
import { generatedImages, readImages } from './data.js';
import { runVariant } from './job.js';
import { RECORD_FORMAT, summarize, type About } from './record.js';
import { headline, table, writeReport } from './report.js';
import { GENERATED, SETTINGS, VARIANTS } from './settings.js';

export const command = (): Command =>
  variantCommand({
    name: 'recursive-super-resolution',
    description: 'Trains DRRN, its untied twin, DRCN, MemNet and RDN for the same time and compares them. Without --data it makes up its own images.',
    format: RECORD_FORMAT,
    data: { help: 'folder with the folders sr-t91 (or T91) and sr-set5 (or Set5) of PNG images', env: 'TFWS_SR' },
    setting: 'training.minutes=30',
    load(directory, settingsOf) {
      const settings = settingsOf(directory === null ? GENERATED : SETTINGS);
      const data = directory === null ? generatedImages(settings.data.heldOut) : readImages(directory, settings.data.heldOut);
      const about: About = { origin: data.origin, train: data.train.length, heldOut: data.heldOut.length, test: data.test.length };
      const line = `${about.origin}: ${about.train} images to train, ${about.heldOut} held out, ${about.test} to test; ${settings.training.minutes} minutes of processor time for each network.`;
      return { data, settings, about, line };
    },
    variants: () => VARIANTS,
    run: runVariant,
    headline,
    table,
    summarize,
    writeReport,
  });
