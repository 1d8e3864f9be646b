/** The command as a process of its own, bundled by the test. */
import { run } from '../../src/cli/main.js';

process.once('SIGINT', () => process.exit(130));
process.exitCode = await run(process.argv.slice(2), '0.0.0');
