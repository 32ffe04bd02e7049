import * as tf from '@tensorflow/tfjs-core';
import { testBackends } from '@therapeutic-moe/test-kit';
import { afterEach, describe, expect, it } from 'vitest';
import { clearDeviceFailure, recordDeviceFailure } from './device-failure.js';
import { DeviceFailure, throwIfDeviceFailed, useBackend } from './index.js';

afterEach(clearDeviceFailure);

describe('throwIfDeviceFailed', () => {
  it('is silent until the device reports, then throws the first report', () => {
    expect(() => throwIfDeviceFailed()).not.toThrow();
    recordDeviceFailure('shader did not compile\n');
    recordDeviceFailure('and so on');
    expect(() => throwIfDeviceFailed()).toThrow(DeviceFailure);
    expect(() => throwIfDeviceFailed()).toThrow('results since then cannot be trusted: shader did not compile');
  });
});

describe.skipIf(!testBackends().includes('webgpu'))('a fault on a WebGPU device (skipped without webgpu)', () => {
  it('is thrown when a tensor is read, and a new device works again', async () => {
    const { device } = await useBackend('webgpu');
    expect(device?.features.length).toBeGreaterThan(0);
    const { device: gpu } = tf.backend() as unknown as { device: GPUDevice };
    gpu.createShaderModule({ code: 'this is not WGSL' });
    const x = tf.ones([2, 3]);
    const sum = tf.add(x, x);
    await expect(sum.data()).rejects.toThrow('the device reported an error');

    await useBackend('webgpu');
    const again = tf.add(tf.ones([2]), tf.ones([2]));
    expect([...(await again.data())]).toEqual([2, 2]);
  });

  it('was made with the limits of the adapter, far above the defaults', async () => {
    await useBackend('webgpu');
    const { device: gpu } = tf.backend() as unknown as { device: GPUDevice };
    const adapter = await navigator.gpu.requestAdapter();
    expect(gpu.limits.maxStorageBufferBindingSize).toBe(adapter?.limits.maxStorageBufferBindingSize);
    expect(gpu.limits.maxBufferSize).toBe(adapter?.limits.maxBufferSize);
  });
});
