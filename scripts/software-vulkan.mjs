// Lets Dawn (the package webgpu) find the Vulkan loader that Debian's chromium brings, where the system has none, so that
// the WebGPU tests can run on SwiftShader. The loader's path is read when a process starts: call this before forking.
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { toolsDirectory } from './toolchain.mjs';

const bundled = '/usr/lib/chromium/libvulkan.so.1';
const system = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];

/** Adds a folder with chromium's Vulkan loader to LD_LIBRARY_PATH when `TMOE_BACKENDS` asks for webgpu. */
export function offerSoftwareVulkan() {
  const backends = process.env.TMOE_BACKENDS ?? '';
  if (backends !== 'all' && !backends.split(',').includes('webgpu')) return;
  if (!existsSync(bundled) || system.some((folder) => existsSync(join(folder, 'libvulkan.so.1')))) return;
  const folder = join(toolsDirectory, 'vulkan');
  mkdirSync(folder, { recursive: true });
  if (!existsSync(join(folder, 'libvulkan.so.1'))) symlinkSync(bundled, join(folder, 'libvulkan.so.1'));
  process.env.LD_LIBRARY_PATH = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter);
}
