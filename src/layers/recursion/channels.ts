/** What happens to channels between recursions (pure): the shuffle of ShuffleNet, as LruNet has it. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../../checks.js';

export interface ShuffleOptions {
  /** Groups g: channel i·(C/g) + j goes to j·g + i. They divide the channels. Integer ≥ 1. */
  groups: number;
  /** Exchange the two halves of the channels first (LruNet). Default false. */
  swapHalves?: boolean;
}

/** Channels (last axis) as [groups, C/groups], transposed (Zhang et al., ShuffleNet, CVPR 2018). */
export function channelShuffle(x: Tensor, { groups, swapHalves = false }: ShuffleOptions): Tensor {
  const channels = x.shape[x.rank - 1];
  let parts = tfc.reshape(x, [-1, groups, channels / groups]);
  // The halves in the groups' own grid where that is possible: one copy less.
  if (swapHalves && groups === 2) parts = tfc.reverse(parts, 1);
  else if (swapHalves) parts = tfc.reshape(tfc.reverse(tfc.reshape(x, [-1, 2, channels / 2]), 1), [-1, groups, channels / groups]);
  return tfc.reshape(tfc.transpose(parts, [0, 2, 1]), x.shape);
}

/** @throws Error unless it is null, a number of groups or {groups, swapHalves}. */
export function checkShuffle(who: string, shuffle: number | ShuffleOptions | null): ShuffleOptions | null {
  if (shuffle === null) return null;
  if (typeof shuffle !== 'number' && typeof shuffle !== 'object') throw new Error(`${who}: shuffle must be a number of groups or {groups, swapHalves}, got ${describe(shuffle)}.`);
  const options = typeof shuffle === 'number' ? { groups: shuffle } : shuffle;
  checkKeys(`${who}: shuffle`, options, ['groups', 'swapHalves']);
  return {
    groups: checkNumber(who, 'shuffle: groups', options.groups, integerAtLeast(1)),
    swapHalves: checkBoolean(who, 'shuffle: swapHalves', options.swapHalves ?? false),
  };
}

/** @throws Error where the channels cannot be shuffled so. */
export function checkShuffledChannels(who: string, channels: number, { groups, swapHalves }: ShuffleOptions): void {
  if (channels % groups !== 0) {
    const usable = Array.from({ length: channels }, (_, i) => i + 1).filter((count) => channels % count === 0);
    throw new Error(`${who}: shuffle: groups must divide the channels of the state, got ${groups} groups and ${channels} channels. Use ${usable.slice(0, -1).join(', ')} or ${channels}.`);
  }
  if (swapHalves && channels % 2 !== 0) throw new Error(`${who}: shuffle: swapHalves needs an even number of channels, got ${channels}.`);
}
