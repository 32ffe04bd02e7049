import * as kernels from '@therapeutic-moe/kernels';
import type { BackendName } from './backend-report.js';

/** Registers our kernels for a backend that is active. Calling it again is harmless. */
export async function installKernelsFor(name: BackendName): Promise<{ kernels: string }> {
  const { installKernels } = kernels as { installKernels?: (name: string) => Promise<{ kernels: string }> };
  return installKernels ? installKernels(name) : { kernels: 'none' };
}
