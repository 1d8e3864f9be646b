/** Whether weights can belong to a topology, as far as names and the commonest layers tell without building the model. */
import type { io } from '@tensorflow/tfjs-core';

type Node = Record<string, unknown>;

/** Models in models in …, by levels of JSON. The host recurses through them. */
const MAX_DEPTH = 500;

/** The layers, inner ones included, under the names that weights carry as prefixes. */
function collectNodes(value: unknown, names: Set<string>, layers: Array<{ type: string; config: Node }>, depth = 0): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > MAX_DEPTH) throw new Error(`compressed: the topology is nested more than ${MAX_DEPTH} levels deep, as that of no model: it is damaged or means harm.`);
  if (Array.isArray(value)) {
    for (const item of value) collectNodes(item, names, layers, depth + 1);
    return;
  }
  const node = value as Node;
  if (typeof node['name'] === 'string') names.add(node['name']);
  if (typeof node['class_name'] === 'string' && typeof node['config'] === 'object' && node['config'] !== null) {
    layers.push({ type: node['class_name'], config: node['config'] as Node });
  }
  for (const key in node) collectNodes(node[key], names, layers, depth + 1);
}

/** Throws if the model weights of `artifacts` cannot be those of its topology. `source` names the file. */
export function checkTopology({ modelTopology, weightSpecs = [] }: io.ModelArtifacts, source: string): void {
  const names = new Set<string>();
  const layers: Array<{ type: string; config: Node }> = [];
  collectNodes(modelTopology, names, layers);
  const fail = (why: string): never => {
    throw new Error(`compressed: ${source}: the topology does not match the weights: ${why}. Save the model again with model.save().`);
  };
  const weights = weightSpecs.filter(({ group }) => group !== 'optimizer');
  const seen = new Set<string>();
  for (const { name } of weights) {
    if (seen.has(name)) fail(`two weights are named '${name}'`);
    seen.add(name);
  }
  const isGraph = Array.isArray((modelTopology as Node | null)?.['node']);
  if (!isGraph && layers.length === 0 && weights.length > 0) fail('it has no layer');
  for (const { name } of weights) {
    // A graph's weights are nodes.
    if (name.includes('/') && !names.has(name) && !name.split('/').some((part) => names.has(part))) fail(`no layer owns the weight '${name}'`);
  }
  for (const { type, config } of layers) {
    if (!/^(Dense|Conv[123]D)$/.test(type)) continue;
    const size = config['units'] ?? config['filters'];
    const kernel = weights.find(({ name }) => name === `${config['name'] as string}/kernel`);
    if (kernel !== undefined && kernel.shape[kernel.shape.length - 1] !== size) {
      fail(`layer '${config['name'] as string}' has ${size as number} outputs, but its kernel has the shape [${kernel.shape.join(', ')}]`);
    }
  }
}

/** Names of the weights, of those in `weightSpecs`, that a layer of the topology holds under a constraint. */
export function constrainedWeights({ modelTopology, weightSpecs = [] }: io.ModelArtifacts): string[] {
  const layers: Array<{ type: string; config: Node }> = [];
  collectNodes(modelTopology, new Set(), layers);
  // `kernel_constraint` is of `dense/kernel`, `recurrent_constraint` of `lstm/recurrent_kernel`.
  const constraints = layers.flatMap(({ config }) =>
    Object.keys(config).flatMap((key) =>
      key.endsWith('_constraint') && config[key] !== null ? [{ layer: config['name'], weight: key.slice(0, -'_constraint'.length) }] : [],
    ),
  );
  return weightSpecs.filter(({ name, group }) => {
    const parts = name.split('/');
    const own = parts.pop()!;
    return group !== 'optimizer' && constraints.some(({ layer, weight }) => parts.includes(layer as string) && own.startsWith(weight));
  }).map(({ name }) => name); // prettier-ignore
}
