/** The page's program. The cpu backend is enough for a network of this size, and small. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { startCompression } from './compress_tab.js';
import { startDigits } from './digits_tab.js';
import { byId } from './dom.js';
import { startTabs } from './tabs.js';

startTabs(byId('tabs'));
startCompression();
await tf.setBackend('cpu');
startDigits();
