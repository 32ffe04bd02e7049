import type { TrainBatch } from './trainable.js';

/** Where a data source stands, as JSON. */
export type DataState = { readonly [key: string]: unknown };

/** Endless or finite supply of micro-batches in a seeded order. */
export interface DataSource {
  /**
   * The micro-batches of the next step, at most `microBatches`. Fewer mean that the data ended inside the step (it still
   * counts in full); none mean that the data is used up.
   */
  nextStep(microBatches: number): TrainBatch[];
  /** What `restore` needs to go on from here. */
  state(): DataState;
  /** Goes on from a saved state; throws when it does not belong to this data. */
  restore(state: DataState): void;
  /** The domain of each row drawn so far, counted: index is the domain; rows without one are left out. */
  drawn(): readonly number[];
}

/** A finite source: the given batches once, in order. */
export function fixedBatches(batches: readonly TrainBatch[]): DataSource {
  let position = 0;
  return {
    nextStep(microBatches) {
      const step = batches.slice(position, position + microBatches);
      position += step.length;
      return step;
    },
    state: () => ({ kind: 'fixed', position }),
    restore(state) {
      if (state.kind !== 'fixed' || !Number.isInteger(state.position) || (state.position as number) > batches.length) {
        throw new Error(
          `fixedBatches: the saved state does not belong to these ${batches.length} batches: ${JSON.stringify(state)}.`,
        );
      }
      position = state.position as number;
    },
    drawn: () => [],
  };
}
