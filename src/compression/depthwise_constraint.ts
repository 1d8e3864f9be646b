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
  const classOf = (option: string): unknown => (config?.[option] as { class_name?: unknown } | null | undefined)?.class_name;
  // No constraint is of the class of a regularizer.
  const taken = result['class_name'] === 'DepthwiseConv2D' && classOf('depthwise_constraint') !== undefined && classOf('depthwise_constraint') === classOf('depthwise_regularizer');
  return taken ? { ...result, config: { ...config, depthwise_constraint: null } } : result;
}
