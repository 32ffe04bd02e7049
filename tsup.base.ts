import type { Options } from 'tsup';

/** What every package builds: one ESM entry with declarations, which `npm start` leaves out to be quick. */
export const base: Options = {
  entry: ['src/index.ts'],
  format: 'esm',
  target: 'node22',
  dts: process.env.TMOE_DECLARATIONS !== '0',
  sourcemap: true,
  clean: true,
};
