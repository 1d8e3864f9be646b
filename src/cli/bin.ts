#!/usr/bin/env node
/** The executable. */
import { version } from '../../package.json';
import { run } from './main.js';
import { bearClosedPipes } from './output.js';
import type { LoadPackage } from './retrain.js';

// What was downloaded is removed on exit.
process.once('SIGINT', () => process.exit(130));
// Layers of this package must be known where a model is run; by its name, so that there is one copy of each class.
const loadPackage = (): ReturnType<LoadPackage> => import(['tfjs', 'weight', 'sharing'].join('-')) as ReturnType<LoadPackage>;
bearClosedPipes();
process.exitCode = await run(process.argv.slice(2), version, loadPackage);
