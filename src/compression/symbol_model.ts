/**
 * Adaptive frequencies of symbols: one step of the range coder a symbol, however many symbols there are. A distribution
 * is made anew when its counts have grown by an eighth, which costs less and less; an occurrence counts three times what
 * each symbol counts at first. The decoder finds a symbol through a table of 256 slots of frequencies, as in Huffman
 * decoders.
 */
import { type Coder, FREQUENCIES } from './range_coder.js';

/**
 * Makes `contexts` distributions over symbols below `arity` (at most 65536); returns the function that codes a symbol in
 * one of them.
 */
export function symbolModel(coder: Coder, contexts: number, arity: number): (context: number, symbol: number) => number {
  if (arity > 256) {
    const highs = (arity + 255) >> 8;
    const codeHigh = symbolModel(coder, contexts, highs);
    const codeLow = symbolModel(coder, highs, 256);
    return (context, symbol) => {
      const high = codeHigh(context, symbol >> 8);
      symbol = high * 256 + codeLow(high, symbol & 255);
      // A damaged stream may name one beyond the last: never hand it on.
      if (symbol >= arity) throw new Error('an index is out of range');
      return symbol;
    };
  }
  const counts = new Uint32Array(contexts * arity).fill(1);
  const seen = new Uint32Array(contexts);
  const wait = new Uint32Array(contexts);
  // Where each symbol's frequencies begin, and the symbol in which each slot begins.
  const starts = new Uint16Array(contexts * (arity + 1));
  const first = new Uint8Array(contexts * 256);

  const renew = (context: number): void => {
    const base = context * (arity + 1);
    const scale = (FREQUENCIES - arity) / (arity + 3 * seen[context]);
    let sum = 0;
    let slot = 0;
    for (let s = 1; s <= arity; s++) {
      sum += counts[context * arity + s - 1];
      const end = s < arity ? ((sum * scale) | 0) + s : FREQUENCIES;
      starts[base + s] = end;
      for (; slot << 6 < end; slot++) first[context * 256 + slot] = s - 1;
    }
    wait[context] = (seen[context] >> 3) + 1;
  };
  for (let context = 0; context < contexts; context++) renew(context);

  return (context, symbol) => {
    const base = context * (arity + 1);
    if (coder.target) {
      const target = coder.target();
      symbol = first[context * 256 + (target >> 6)];
      while (starts[base + symbol + 1] <= target) symbol++;
    }
    coder.narrow(starts[base + symbol], starts[base + symbol + 1]);
    counts[context * arity + symbol] += 3;
    seen[context]++;
    if (--wait[context] === 0) renew(context);
    return symbol;
  };
}
