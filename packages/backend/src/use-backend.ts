import '@tensorflow/tfjs'; // registers the gradients and the cpu backend on tfjs-core's engine
import { installKernels } from '@therapeutic-moe/kernels';
import { activate } from './activate.js';
import type { BackendChoice, BackendName, BackendReport, UseBackendOptions } from './backend-report.js';

const order: readonly BackendName[] = ['tensorflow', 'webgpu', 'wasm', 'cpu'];

const remedies: Record<BackendName, string> = {
  tensorflow:
    'Install @tensorflow/tfjs-node (or -gpu), or name a folder that has it in TMOE_TFJS_NODE; ' +
    '`therapeutic-moe link-tensorflow` builds its addon against a TensorFlow installed by pip.',
  webgpu: 'Install the package webgpu (under Node) and a GPU driver with Vulkan, Metal or Direct3D 12.',
  wasm: 'Install @tensorflow/tfjs-backend-wasm; in a browser pass wasmPaths.',
  cpu: 'Install @tensorflow/tfjs.',
};

/**
 * Makes a TensorFlow.js backend active, with gradients registered and our kernels installed, and says which and why.
 * The order of `auto` is tensorflow, webgpu (only with a real GPU), wasm, cpu.
 *
 * @param choice a backend by name, or `auto`. Named explicitly, `webgpu` also accepts a software adapter.
 * @returns the report; its `line` has also gone to `options.logger`.
 * @throws Error when a backend named explicitly is not available: with the reason and what to install. Also when the backend cannot
 *   compute in `options.precision`.
 */
export async function useBackend(choice: BackendChoice, options: UseBackendOptions = {}): Promise<BackendReport> {
  if (choice !== 'auto' && !order.includes(choice)) {
    throw new Error(`useBackend: choice must be auto, ${order.join(', ')}; got '${String(choice)}'.`);
  }
  const explicit = choice !== 'auto';
  const refused: string[] = [];
  for (const name of explicit ? [choice] : order) {
    const outcome = await activate(name, explicit, options);
    if ('missing' in outcome) {
      refused.push(`${name}: ${outcome.missing}`);
      continue;
    }
    const { precision = 'float32' } = options;
    const { kernels, threads } = await installKernels(name, { precision });
    const reason = [explicit ? 'asked for' : '', ...refused.map((words) => `no ${words}`)].filter(Boolean).join('; ');
    const ours = [
      `kernels: ${kernels}${threads > 1 ? ` on ${threads} threads` : ''}`,
      ...(precision === 'float32' ? [] : [`${precision} products`]),
    ].join(', ');
    const line = `backend: ${name} (${outcome.active}; ${ours})${reason ? `; ${reason}` : ''}`;
    options.logger?.info(line);
    return { name, reason: reason || 'first in order', line, kernels, threads, device: outcome.device };
  }
  if (explicit) {
    throw new Error(
      `useBackend: '${choice}' was asked for, but ${refused[0]?.slice(choice.length + 2)}. ${remedies[choice]} Or choose 'auto'.`,
    );
  }
  throw new Error(`useBackend: no backend works here (${refused.join('; ')}). ${remedies.wasm}`);
}
