/**
 * Hostile files: 500 here, and with `npm run fuzz` as many as TFWS_FUZZ says. Each is decoded in a thread that is ended if
 * it hangs; a case that fails is named by its number, for `hostileFile(number)`.
 */
import { expect, it } from 'vitest';
import { runFuzz } from './fuzz/run_fuzz.js';

const cases = Number(process.env.TFWS_FUZZ ?? 500);
const first = Number(process.env.TFWS_FUZZ_FIRST ?? 0);

it(`takes ${cases} hostile files in bounded time and memory, and never for what they are not`, async () => {
  const summary = await runFuzz(first, first + cases, 30_000);
  if (cases > 500) console.log(summary);
  expect(summary.broken).toEqual([]);
  expect(summary.refused + summary.read).toBe(cases);
  // Damage that a fitting checksum hides is not always found, nor need it be.
  expect(summary.refused).toBeGreaterThan(0.9 * cases);
}, 120_000 + 500 * cases);
