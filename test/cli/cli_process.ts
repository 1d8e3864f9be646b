/** The command as a process of its own, bundled by the test. */
import { run } from '../../src/cli/main.js';
import { bearClosedPipes } from '../../src/cli/output.js';
import type { LoadPackage } from '../../src/cli/retrain.js';

process.once('SIGINT', () => process.exit(130));
bearClosedPipes();
process.exitCode = await run(process.argv.slice(2), '0.0.0', () => Promise.resolve({}) as unknown as ReturnType<LoadPackage>);
