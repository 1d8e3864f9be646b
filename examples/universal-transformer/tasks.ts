/** Copy, reverse and addition of integers as pairs of question and answer, generated. Dehghani et al. 2019, §3.3; Kaiser & Sutskever 2016 (arXiv 1511.08228). */
import type { Random } from '../common/random.js';
import type { Task } from './settings.js';

/** Symbols: the digits 0 to 9 are themselves. */
export const [PLUS, END, START] = [10, 11, 12] as const;
export const SYMBOLS = 13;

export interface Pair {
  /** Symbols and END. */
  question: number[];
  /** Symbols and END. */
  answer: number[];
  /** For addition: where a carry comes in from the digit before. Of the answer's length. */
  carries: boolean[] | null;
}

/** Digits of each number of a sum whose question is at most `length` long. */
export const digitsFor = (length: number): number => Math.max(1, Math.floor((length - 1) / 2));

/** A pair whose question has `length` symbols (addition: one fewer where that is even). Numbers have their last digit first, sums one digit more than the numbers. */
export function pairOf(task: Task, length: number, random: Random): Pair {
  const digits = (count: number) => Array.from({ length: count }, () => random.integer(10));
  if (task !== 'addition') {
    const symbols = digits(length);
    return { question: [...symbols, END], answer: [...(task === 'copy' ? symbols : [...symbols].reverse()), END], carries: null };
  }
  const [a, b] = [digits(digitsFor(length)), digits(digitsFor(length))];
  return { question: [...a, PLUS, ...b, END], ...sumOf(a, b) };
}

/** a + b of two numbers of as many digits, the last digit first. */
export function sumOf(a: readonly number[], b: readonly number[]): { answer: number[]; carries: boolean[] } {
  const answer: number[] = [];
  const carries: boolean[] = [];
  let carry = 0;
  for (let i = 0; i <= a.length; i++) {
    const sum = (a[i] ?? 0) + (b[i] ?? 0) + carry;
    carries.push(carry > 0);
    answer.push(sum % 10);
    carry = sum > 9 ? 1 : 0;
  }
  return { answer: [...answer, END], carries: [...carries, false] };
}

/** Pairs of one length, so that nothing is padded. */
export const pairsOf = (task: Task, length: number, count: number, random: Random): Pair[] => Array.from({ length: count }, () => pairOf(task, length, random));
