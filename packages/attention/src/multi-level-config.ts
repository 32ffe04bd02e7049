import { refuseUnknownKeys } from '@therapeutic-moe/nn';

/** The levels at which tokens look at tokens. */
export interface MultiLevelConfig {
  /** Most tokens that a token sees at full resolution, itself included. */
  readonly window: number;
  /** Tokens per block of each coarser level, growing; every level sees all blocks before the token. */
  readonly strides: readonly number[];
}

/**
 * How many of the newest tokens are needed at full resolution when one more is among them: those in the window, and those
 * of a block that is not whole before it.
 */
export function keptTokens({ window, strides }: MultiLevelConfig): number {
  return Math.max(window, ...strides);
}

/** Half and quarter resolution. */
const defaultStrides: readonly number[] = [2, 4];

/**
 * Checks the levels and returns them frozen, with strides 2 and 4 where none are given.
 *
 * @throws Error naming field, value and way out.
 */
export function resolveMultiLevelConfig(
  config: Omit<MultiLevelConfig, 'strides'> & Partial<MultiLevelConfig>,
): MultiLevelConfig {
  const where = 'multi-level attention';
  refuseUnknownKeys(where, config, ['window', 'strides']);
  const { window, strides = defaultStrides } = config;
  if (!(Number.isSafeInteger(window) && window >= 1))
    throw new Error(`${where}: window must be a whole number of 1 or more, got ${String(window)}.`);
  const grow = (stride: number, i: number) => Number.isSafeInteger(stride) && stride > (strides[i - 1] ?? 1);
  if (!Array.isArray(strides) || strides.length === 0 || !strides.every(grow)) {
    throw new Error(
      `${where}: strides must be growing whole numbers of 2 or more, got ${JSON.stringify(strides)}; [2, 4] is half and quarter resolution.`,
    );
  }
  if (window < strides[0]! - 1) {
    throw new Error(
      `${where}: window is ${window} but the finest blocks have ${strides[0]} tokens, so no level would see all of an unfinished block; make window ${strides[0]! - 1} or more.`,
    );
  }
  return Object.freeze({ window, strides: Object.freeze([...strides]) });
}
