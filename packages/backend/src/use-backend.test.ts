import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, testBackends } from '@therapeutic-moe/test-kit';
import { afterEach, describe, expect, it } from 'vitest';
import { type BackendChoice, useBackend } from './index.js';

const withTensorflow = testBackends().includes('tensorflow'); // then `auto` rightly stops earlier
const folder = process.env.TMOE_TFJS_NODE;
afterEach(() => {
  if (folder === undefined) delete process.env.TMOE_TFJS_NODE;
  else process.env.TMOE_TFJS_NODE = folder;
});

describeOnBackends('useBackend', (backend) => {
  it('activates the backend by name and reports it in one line', async () => {
    const lines: string[] = [];
    const report = await useBackend(backend as BackendChoice, { logger: { info: (line) => lines.push(line) } });
    expect(report.name).toBe(backend);
    expect(tf.getBackend()).toBe(backend);
    expect(report.line).toMatch(
      new RegExp(`^backend: ${backend} \\(.*kernels: ${report.kernels}( on \\d threads)?\\).*asked for$`),
    );
    expect(lines).toEqual([report.line]);
  });

  it('takes bfloat16 products where there are such, says so, and goes back to float32', async () => {
    const rounded = useBackend(backend as BackendChoice, { precision: 'bfloat16' });
    if (backend === 'tensorflow') expect((await rounded).line).toContain(', bfloat16 products)');
    else await expect(rounded).rejects.toThrow(`precision 'bfloat16' needs the backend 'tensorflow', got '${backend}'`);
    expect((await useBackend(backend as BackendChoice)).line).not.toContain('bfloat16');
  });

  it('registers gradients', async () => {
    const x = tf.tensor1d([2, 3, 5]);
    const slope = tf.tidy(() => tf.grad((v) => tf.sum(tf.mul(v, v)))(x));
    await expectClose(slope, [4, 6, 10], 1e-5);
    tf.dispose([x, slope]);
  });

  it('computes on this engine: tensors are instances of our tfjs-core', async () => {
    const product = tf.matMul(tf.ones([3, 5]), tf.ones([5, 2]));
    expect(product.constructor).toBe(tf.Tensor);
    await expectClose(product, [5, 5, 5, 5, 5, 5], 1e-6);
  });
});

describe('the choice', () => {
  it.skipIf(withTensorflow)('takes wasm before cpu, and says why not the ones before it', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'tmoe-no-tfjs-node-'));
    process.env.TMOE_TFJS_NODE = empty;
    const report = await useBackend('auto');
    await rm(empty, { recursive: true });
    expect(['webgpu', 'wasm']).toContain(report.name);
    expect(report.reason).toContain(
      `no tensorflow: @tensorflow/tfjs-node-gpu and @tensorflow/tfjs-node are not installed`,
    );
    if (report.name === 'wasm') expect(report.reason).toMatch(/; no webgpu: .+/);
    expect(report.line).not.toContain('\n');
  });

  it.skipIf(withTensorflow)(
    'never falls back from an explicit choice: it throws the reason and the way out',
    async () => {
      const empty = await mkdtemp(join(tmpdir(), 'tmoe-no-tfjs-node-'));
      process.env.TMOE_TFJS_NODE = empty;
      await expect(useBackend('tensorflow')).rejects.toThrow(
        /^useBackend: 'tensorflow' was asked for, but .* are not installed in .*tmoe-no-tfjs-node-.*\. Install .* Or choose 'auto'\.$/,
      );
      await rm(empty, { recursive: true });
    },
  );

  it('refuses a name it does not know', async () => {
    await expect(useBackend('webgl' as BackendChoice)).rejects.toThrow(
      "useBackend: choice must be auto, tensorflow, webgpu, wasm, cpu; got 'webgl'.",
    );
  });

  it('switches between backends and keeps tensors readable', async () => {
    await useBackend('cpu');
    const made = tf.tensor1d([2, 3]);
    await useBackend('wasm');
    const doubled = tf.add(made, made);
    await expectClose(doubled, [4, 6], 0);
    tf.dispose([made, doubled]);
  });
});
