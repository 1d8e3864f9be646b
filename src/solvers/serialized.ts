/** Solvers and gradient methods inside of another object's config. */
import { serialization } from '@tensorflow/tfjs-core';
import { describe } from '../checks.js';

/** `{className, config}`, as the host writes nested objects. */
export const serialized = (object: serialization.Serializable): serialization.ConfigDict => ({ className: object.getClassName(), config: object.getConfig() });

/** The object that {@link serialized} was made of. @throws Error for a class that is not registered. */
export function revive<T extends serialization.Serializable>(who: string, saved: unknown): T {
  const { className, config } = (saved ?? {}) as { className?: string; config?: serialization.ConfigDict };
  const entry = className === undefined ? undefined : serialization.SerializationMap.getMap().classNameMap[className];
  if (entry === undefined) {
    throw new Error(`${who}: expected {className, config} of a registered class, got ${describe(className ?? saved)}. Import the package that defines it before loading.`);
  }
  const [cls, fromConfig] = entry;
  return fromConfig(cls, config ?? {}) as T;
}
