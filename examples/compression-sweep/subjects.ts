/** What can be swept: the compression examples, by name. */
import type { CompressionExample } from '../common/compression/example.js';
import { EXAMPLE as lenet5 } from '../compress-lenet5/main.js';
import { EXAMPLE as lenet300 } from '../compress-mnist/main.js';

export const SUBJECTS: Readonly<Record<string, CompressionExample>> = Object.fromEntries([lenet300, lenet5].map((example) => [example.name, example]));
