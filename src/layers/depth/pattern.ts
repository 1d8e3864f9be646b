/** Which group of layers each step in depth uses (pure). */
import { checkChoice, describe } from '../../checks.js';

/**
 * `blocks`: step l of L uses group ⌊l·G/L⌋, neighbours share (ALBERT, Lan et al. 2020); `cycle`: group l mod G; or a group for each step, repeated where
 * there are more steps.
 */
export type DepthPattern = 'blocks' | 'cycle' | readonly number[];

export function groupOfSteps(pattern: DepthPattern, steps: number, groups: number): number[] {
  return Array.from({ length: steps }, (_, step) => {
    if (pattern === 'blocks') return Math.floor((step * groups) / steps);
    return pattern === 'cycle' ? step % groups : pattern[step % pattern.length];
  });
}

/** @throws Error for a pattern that names an absent group or leaves one out. */
export function checkPattern(who: string, pattern: unknown, groups: number): DepthPattern {
  if (!Array.isArray(pattern)) return checkChoice<'blocks' | 'cycle'>(who, 'pattern (if it is no list of groups)', pattern, ['blocks', 'cycle']);
  const absent = pattern.find((group) => !Number.isInteger(group) || group < 0 || group >= groups) as unknown;
  if (pattern.length === 0 || absent !== undefined) {
    throw new Error(`${who}: pattern must list groups from 0 to ${groups - 1}, one for each step, got ${describe(pattern)}${pattern.length === 0 ? '' : `, where ${describe(absent)} is none`}.`);
  }
  const unused = Array.from({ length: groups }, (_, group) => group).filter((group) => !pattern.includes(group));
  if (unused.length > 0) throw new Error(`${who}: pattern ${describe(pattern)} never uses group ${unused.join(', ')}. Leave its layers out.`);
  return [...(pattern as number[])];
}
