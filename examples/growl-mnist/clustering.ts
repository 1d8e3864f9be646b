/** How the rows that are left after the first stage are put into clusters. */
import { agnes } from 'ml-hclust';
import { rowTying, type RowTying } from 'tfjs-weight-sharing';

/** Affinity propagation, as the paper has it, or Ward's method into so many clusters, by layer. */
export type RowClustering = { preference: number } | { wardClusters: Readonly<Record<string, number>> };

/** Callbacks that tie the rows of the named layers. */
export function tyingCallbacks(layers: readonly string[], clustering: RowClustering): RowTying[] {
  if ('preference' in clustering) return [rowTying({ layers: [...layers], preference: clustering.preference })];
  return layers.map((layer) => {
    if (!(layer in clustering.wardClusters)) throw new Error(`wardClusters: no number of clusters for layer '${layer}'. Give it in the settings.`);
    return rowTying({ layers: [layer], cluster: (_similarity, rows) => wardLabels(rows, clustering.wardClusters[layer]) });
  });
}

/** Ward (1963): merges, from single rows on, those two clusters that add the least to the squares about the means, until `count` are left. */
export function wardLabels(rows: readonly Float32Array[], count: number): Int32Array {
  const labels = Int32Array.from(rows.keys());
  if (count >= rows.length) return labels;
  const data = rows.map((row) => Array.from(row));
  agnes(data, { method: 'ward2' })
    .group(count)
    .children.forEach((cluster, label) => cluster.indices().forEach((row) => (labels[row] = label)));
  return labels;
}
