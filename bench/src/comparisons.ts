import { attention } from './attention.js';
import type { Comparison } from './comparison.js';
import { decode } from './decode.js';
import { load } from './load.js';
import { loraStep } from './lora-step.js';
import { matMul } from './mat-mul.js';
import { moeBlock } from './moe-block.js';
import { trainStep } from './train-step.js';

/** All comparisons, in the order they run. */
export const comparisons: readonly Comparison[] = [trainStep, loraStep, moeBlock, matMul, decode, attention, load];

/** Those asked for, or all. @throws when a name is unknown, naming those that exist. */
export function chooseComparisons(all: readonly Comparison[], only: string | undefined): readonly Comparison[] {
  if (only === undefined) return all;
  const found = all.find(({ name }) => name === only);
  if (!found)
    throw new Error(
      `bench: --only ${only} is not a comparison; choose from ${all.map(({ name }) => name).join(', ')}.`,
    );
  return [found];
}
