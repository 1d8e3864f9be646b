/** How alike attention maps are. Lin, Divergence Measures Based on the Shannon Entropy, 1991; for attention: Xiao et al., IJCAI 2019 (arXiv 1906.11024). */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** −Σ p log p over the last axis, 0·log 0 = 0. */
const entropy = (p: Tensor): Tensor => tfc.neg(tfc.sum(tfc.mul(p, tfc.log(tfc.maximum(p, 1e-30))), -1));

/**
 * Jensen–Shannon divergence of the rows of `p` and `q` [batch, …, keys], each a distribution: H((p + q)/2) − (H(p) + H(q))/2, in nats, so from
 * 0 to ln 2. → [batch, …].
 */
export function jensenShannon(p: Tensor, q: Tensor): Tensor {
  return tfc.tidy(() => tfc.maximum(tfc.sub(entropy(tfc.mul(tfc.add(p, q), 0.5)), tfc.mul(tfc.add(entropy(p), entropy(q)), 0.5)), 0));
}

/** Sums over rows for each pair of layers whose maps there are; rows in which nothing may be looked at are left out. */
export interface DivergenceSums {
  /** [layers, layers], −1 where one of the two has no maps. */
  sums: number[][];
  rows: number;
}

/**
 * For each pair of `maps` [batch, heads, queries, keys], the divergences of their rows, summed over batch, heads and queries. A layer without
 * maps of its own is null.
 */
export async function divergenceSums(maps: readonly (Tensor | null)[]): Promise<DivergenceSums> {
  const sums = maps.map(() => maps.map(() => -1));
  const own = maps.flatMap((map, i) => (map === null ? [] : [{ map, i }]));
  const pairs = own.flatMap(({ i }, a) => own.slice(a + 1).map(({ i: j }) => [i, j]));
  const values = tfc.tidy(() => {
    const counted = own.length === 0 ? tfc.scalar(0) : tfc.sum(own[0].map);
    const entropies = new Map(own.map(({ map, i }) => [i, tfc.sum(entropy(map))]));
    const each = pairs.map(([i, j]) => {
      const mixed = tfc.sum(entropy(tfc.mul(tfc.add(maps[i]!, maps[j]!), 0.5)));
      return tfc.sub(mixed, tfc.mul(tfc.add(entropies.get(i)!, entropies.get(j)!), 0.5));
    });
    return tfc.stack([counted, ...each]);
  });
  const [rows, ...found] = await values.data();
  values.dispose();
  own.forEach(({ i }) => (sums[i][i] = 0));
  pairs.forEach(([i, j], at) => (sums[i][j] = sums[j][i] = Math.max(0, found[at])));
  return { sums, rows: Math.round(rows) };
}

/** Divergences of the maps that layers use: a pair that was never measured (−1) has that of the `leaders`, the layers whose maps the two use. */
function ofUsedMaps(divergence: readonly (readonly number[])[], leaders: readonly number[]): number[][] {
  return divergence.map((row, i) => row.map((value, j) => (value < 0 ? divergence[leaders[i]][leaders[j]] : value)));
}

/** Mean of 1 − divergence over the pairs of layers first … last; 1 for one layer. NaN-free: a pair that was never measured counts as unlike (ln 2). */
export function blockSimilarity(divergence: readonly (readonly number[])[], first: number, last: number): number {
  let sum = 0;
  let pairs = 0;
  for (let i = first; i <= last; i++) {
    for (let j = i + 1; j <= last; j++, pairs++) sum += 1 - (divergence[i][j] < 0 ? Math.LN2 : divergence[i][j]);
  }
  return pairs === 0 ? 1 : sum / pairs;
}

/**
 * Lengths of the blocks: from the lowest layer upward, the largest whose similarity is at least `threshold`. Layers of one leader stay together as long as they were
 * never measured apart. `leaders` are those of the time before; by default each layer is its own.
 */
export function chooseBlocks(divergence: readonly (readonly number[])[], threshold: number, leaders: readonly number[] = [...divergence.keys()]): number[] {
  const used = ofUsedMaps(divergence, leaders);
  const together = (layer: number) => leaders[layer] === leaders[layer + 1] && divergence[layer][layer + 1] < 0;
  const blocks: number[] = [];
  for (let first = 0; first < divergence.length; ) {
    let last = divergence.length - 1;
    while (last > first && (together(last) || blockSimilarity(used, first, last) < threshold)) last--;
    blocks.push(last - first + 1);
    first = last + 1;
  }
  return blocks;
}
