/** A mistake of tfjs-layers 4.22: the config of a DepthwiseConv2D names its regularizer as its constraint, too, so that no such model would load. */

/** A copy of a topology in which no DepthwiseConv2D has a constraint that is its regularizer. What its constraint was the host has not written. */
export function mendDepthwise<T>(topology: T): T {
  return mended(topology) as T;
}

function mended(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(mended);
  if (typeof value !== 'object' || value === null) return value;
  const result: Record<string, unknown> = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mended(item)]));
  const config = result['config'] as Record<string, unknown> | undefined;
  const taken = result['class_name'] === 'DepthwiseConv2D' && config?.['depthwise_constraint'] != null && JSON.stringify(config['depthwise_constraint']) === JSON.stringify(config['depthwise_regularizer']);
  return taken ? { ...result, config: { ...config, depthwise_constraint: null } } : result;
}
