import { isMissing, isNode, reasonOf } from './node-modules.js';

/** The device that was made, for reports and for kernels that ask what it can do. */
export interface WebGpuDeviceReport {
  /** The adapter in words: vendor, architecture, description. */
  adapter: string;
  /** True when the adapter computes on the processor (SwiftShader, llvmpipe, WARP). */
  software: boolean;
  /** The features the device was made with: all the adapter has. */
  features: string[];
}

/** A device made with everything its adapter has. */
export interface OpenedDevice {
  device: GPUDevice;
  info: GPUAdapterInfo;
  report: WebGpuDeviceReport;
}

/**
 * Shaders clear their workgroup memory in a loop of Dawn's, as they do in browsers without the Vulkan extension for it:
 * SwiftShader writes a store for every element of it, and then compiles a shader with 14 KiB for two seconds.
 */
const dawnSettings = [
  'enable-dawn-features=allow_unsafe_apis',
  'disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension',
];

const softwareAdapter = /swiftshader|llvmpipe|lavapipe|basic render/i;

/**
 * Asks for a WebGPU device with all the features and limits its adapter has; WebGPU's defaults are far lower.
 *
 * @param allowSoftware whether an adapter without a GPU behind it will do.
 * @returns the device, or why there is none.
 */
export async function openWebGpuDevice(allowSoftware: boolean): Promise<OpenedDevice | { missing: string }> {
  if (!allowSoftware && (await lacksGpuDevice())) return { missing: 'this machine has no GPU device' };
  const found = await findGpu();
  if ('missing' in found) return found;
  const adapter = await found.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return { missing: 'there is no adapter' };
  const report = describeAdapter(adapter);
  if (report.software && !allowSoftware) {
    return { missing: `the only adapter is software (${report.adapter})` };
  }
  try {
    const device = await adapter.requestDevice({
      requiredFeatures: report.features as GPUFeatureName[],
      requiredLimits: limitsOf(adapter),
    });
    return { device, info: adapter.info, report };
  } catch (thrown) {
    return { missing: `the adapter refused a device: ${reasonOf(thrown)}` };
  }
}

/** True on Linux without a device file of any GPU; asking Dawn would only load it and print its complaints. */
async function lacksGpuDevice(): Promise<boolean> {
  if (!isNode() || process.platform !== 'linux') return false;
  const { existsSync } = await import('node:fs');
  return !['/dev/dri', '/dev/nvidia0', '/dev/nvidiactl', '/dev/dxg'].some((path) => existsSync(path));
}

/** `navigator.gpu` where there is one; under Node Dawn, from the optional package `webgpu`. */
async function findGpu(): Promise<{ gpu: GPU } | { missing: string }> {
  const existing = globalThis.navigator?.gpu;
  if (existing) return { gpu: existing };
  if (!isNode()) return { missing: 'this browser has no navigator.gpu' };
  try {
    const name = 'webgpu'; // an optional peer: a bundler must not follow it
    const dawn = (await import(name)) as { create(flags: string[]): GPU; globals: object };
    Object.assign(globalThis, dawn.globals);
    const gpu = dawn.create(dawnSettings);
    if (await gpu.requestAdapter()) exposeGpu(gpu);
    return { gpu };
  } catch (thrown) {
    if (isMissing(thrown, 'webgpu')) return { missing: 'the package webgpu (Dawn) is not installed' };
    return { missing: `the package webgpu does not load: ${reasonOf(thrown)}` };
  }
}

/** tfjs refuses to construct its WebGPU backend unless `navigator.gpu` is there. */
function exposeGpu(gpu: GPU): void {
  if (globalThis.navigator) Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: 'node' }, configurable: true });
}

function describeAdapter(adapter: GPUAdapter): WebGpuDeviceReport {
  const { vendor, architecture, device, description } = adapter.info;
  const words = [vendor, architecture, description || device].filter(Boolean).join(' ');
  const fallback = (adapter.info as { isFallbackAdapter?: boolean }).isFallbackAdapter === true;
  return {
    adapter: words || 'unnamed adapter',
    software: fallback || softwareAdapter.test(words),
    features: [...adapter.features].sort(),
  };
}

/** Every limit of the adapter; the subgroup sizes that some implementations list beside them cannot be asked for. */
function limitsOf(adapter: GPUAdapter): Record<string, number> {
  const limits: Record<string, number> = {};
  const source = adapter.limits as unknown as Record<string, unknown>;
  for (const name in source) {
    const value = source[name];
    if (typeof value === 'number' && !/SubgroupSize$/.test(name)) limits[name] = value;
  }
  return limits;
}
