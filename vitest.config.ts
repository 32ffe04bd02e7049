import { defineConfig } from 'vitest/config';
import { offerSoftwareVulkan } from './scripts/software-vulkan.mjs';

offerSoftwareVulkan();

// Workspace packages are tested from source, so a test run needs no build.
export default defineConfig({
  resolve: { conditions: ['@therapeutic-moe/source'] },
  ssr: { resolve: { conditions: ['@therapeutic-moe/source'] } },
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'examples/*/**/*.test.ts',
      'bench/**/*.test.ts',
      'scripts/*.test.ts',
    ],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
