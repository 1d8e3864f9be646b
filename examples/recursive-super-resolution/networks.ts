/** The networks side by side: interpolated luminance in, sharper luminance out. */
import type * as tfl from '@tensorflow/tfjs-layers';
import { drcn, drrn, memNet, rdn } from './library.js';
import type { Settings, VariantName } from './settings.js';

/** Without normalisation, as patches are small and whole images are tested. RDN takes interpolated images here and adds to them, as the others do. */
export function network(variant: VariantName, settings: Settings['model']): tfl.LayersModel {
  const { filters, units, recursions, memoryBlocks, memoryRecursions, denseBlocks, denseLayers, denseFilters } = settings;
  switch (variant) {
    case 'untied':
      return drrn({ filters, units, tied: false });
    case 'drrn':
      return drrn({ filters, units });
    case 'drcn':
      return drcn({ filters, recursions });
    case 'memNet':
      return memNet({ filters, blocks: memoryBlocks, recursions: memoryRecursions, normalization: false });
    case 'rdn':
      return rdn({ scale: 1, channels: 1, filters: denseFilters, blocks: denseBlocks, layers: denseLayers });
  }
}
