import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';
import { expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { useBackend } from './index.js';

// In a file of its own: tfjs reads the binary's path once in a process.
it('computes on one thread where the binary cannot be read to make its memory shared', async () => {
  const binary = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  const report = await useBackend('wasm', { wasmPaths: `${pathToFileURL(dirname(binary)).href}/` });
  expect(report.threads).toBe(1);
  expect(report.line).not.toContain('threads');
  const product = matMul(tf.ones([301, 257]), tf.ones([257, 263]));
  await expectClose(tf.unique(tf.reshape(product, [-1])).values, [257], 0);
});
