/** Learning rate of a step; steps count from 1. */
export type Schedule = (step: number) => number;

/** Settings of `cosineSchedule`. */
export interface CosineOptions {
  /** Steps of the whole run. */
  readonly steps: number;
  /** Steps of the linear rise from 0; the peak is reached at this step. */
  readonly warmupSteps: number;
  /** The peak. */
  readonly learningRate: number;
  /** The last step's rate as a share of the peak. Default 0.1. */
  readonly finalFraction?: number;
}

/**
 * Linear warm-up, then half a cosine from the peak to `finalFraction` of it (SGDR without restarts, arXiv:1608.03983).
 *
 * @throws when the peak would never be reached (`warmupSteps` is not below `steps`) or a number makes no sense.
 */
export function cosineSchedule({ steps, warmupSteps, learningRate, finalFraction = 0.1 }: CosineOptions): Schedule {
  if (!Number.isInteger(steps) || steps < 1) {
    throw new Error(`cosineSchedule: steps must be a whole number of at least 1, got ${steps}.`);
  }
  if (!Number.isInteger(warmupSteps) || warmupSteps < 0 || warmupSteps >= steps) {
    throw new Error(
      `cosineSchedule: warmupSteps is ${warmupSteps} but steps is ${steps}; the peak would never be reached. Use fewer than ${steps} warm-up steps.`,
    );
  }
  if (!(learningRate > 0) || !Number.isFinite(learningRate)) {
    throw new Error(`cosineSchedule: learningRate must be a positive number, got ${learningRate}.`);
  }
  if (!(finalFraction >= 0 && finalFraction <= 1)) {
    throw new Error(`cosineSchedule: finalFraction must lie between 0 and 1, got ${finalFraction}.`);
  }
  return (step) => {
    if (step < warmupSteps) return (learningRate * step) / warmupSteps;
    const progress = Math.min(1, (step - warmupSteps) / Math.max(1, steps - warmupSteps));
    return learningRate * (finalFraction + (1 - finalFraction) * 0.5 * (1 + Math.cos(Math.PI * progress)));
  };
}
