import { readFileSync, writeFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';

const MiB = 2 ** 20;

/**
 * The most memory that work takes beyond what is held before it, in MiB: resident memory of this process, the wasm heap and TensorFlow's
 * buffers included; on webgpu the buffers that tfjs allocates on the device, which it never gives back.
 *
 * @returns undefined where the system does not say (Linux does).
 */
export async function peakMemory(work: () => Promise<unknown>): Promise<number | undefined> {
  if (tf.getBackend() === 'webgpu') return allocatedOnDevice(work);
  forgetPeak();
  const before = residentMemory('VmRSS');
  await work();
  const peak = residentMemory('VmHWM');
  return before === undefined || peak === undefined ? undefined : Math.max(0, peak - before) / MiB;
}

async function allocatedOnDevice(work: () => Promise<unknown>): Promise<number> {
  const allocated = () => (tf.memory() as unknown as { numBytesAllocatedInGPU: number }).numBytesAllocatedInGPU;
  const before = allocated();
  await work();
  return (allocated() - before) / MiB;
}

/** Sets this process's peak to what is resident now (proc(5), clear_refs). */
function forgetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // No Linux: nothing is read below either.
  }
}

/** A line of /proc/self/status, in bytes. */
function residentMemory(line: 'VmRSS' | 'VmHWM'): number | undefined {
  try {
    const [, kibibytes] =
      new RegExp(`^${line}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    return kibibytes === undefined ? undefined : 1024 * Number(kibibytes);
  } catch {
    return undefined;
  }
}
