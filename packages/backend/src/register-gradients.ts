import '@tensorflow/tfjs'; // registers the gradients and the cpu backend on tfjs-core's engine
import * as tf from '@tensorflow/tfjs-core';

// The cpu backend advises at its first use to install tfjs-node; our report says what is missing, once and in one line.
const cpu = tf.findBackend('cpu') as unknown as { firstUse?: boolean } | null;
if (cpu) cpu.firstUse = false;
