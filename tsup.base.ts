import type { Options } from 'tsup';

/** What every package builds: one ESM entry with declarations. */
export const base: Options = {
  entry: ['src/index.ts'],
  format: 'esm',
  target: 'node22',
  dts: true,
  sourcemap: true,
  clean: true,
};
