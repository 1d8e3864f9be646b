/**
 * `npm run fuzz [-- cases [first]]`: the full tier of hostile files (12 000, from case 0 on), and fifty saves killed at random moments.
 * `npm test` runs 500 of the former and kills a save once in each of its steps.
 */
const [cases = '12000', first = '0'] = process.argv.slice(2);
Object.assign(process.env, { TFWS_FUZZ: cases, TFWS_FUZZ_FIRST: first, TFWS_BACKENDS: 'cpu' });
process.argv.splice(2, Infinity, 'test/compression/fuzz.test.ts', 'test/compression/killed_save.test.ts');
await import('./run.mjs');
