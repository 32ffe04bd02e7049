/** How the next token is chosen, and when to stop. */
export interface Sampling {
  /** Divides the logits: below 1 sharper, above 1 flatter, 0 always the likeliest token. Default 1. */
  readonly temperature?: number;
  /** Keep the fewest likeliest tokens whose probabilities reach this sum (nucleus). Default 1: all. */
  readonly topP?: number;
  /** Keep this many of the likeliest tokens. Default: all. */
  readonly topK?: number;
  /** Makes tokens already seen, prompt included, less likely; 1 is off, CTRL used 1.2. Default 1. */
  readonly repetitionPenalty?: number;
  /** The same seed gives the same text. Default: a new one each time. */
  readonly seed?: number;
  /** The most tokens to generate. Default: what the model's positions allow. */
  readonly maxTokens?: number;
  /** Ids that end the text; they are not part of it. Default none. */
  readonly stopTokens?: readonly number[];
}

/** {@link Sampling}, whole and checked. */
export interface ResolvedSampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  readonly maxTokens: number;
  readonly stopTokens: readonly number[];
}

const FIELDS: readonly string[] = [
  'temperature',
  'topP',
  'topK',
  'repetitionPenalty',
  'seed',
  'maxTokens',
  'stopTokens',
] satisfies (keyof Sampling)[];

function check(field: string, value: unknown, valid: boolean, expected: string): void {
  if (!valid) throw new Error(`generate: ${field}: expected ${expected}, got ${JSON.stringify(value) ?? value}.`);
}

function isWhole(value: number, least: number): boolean {
  return value === Number.POSITIVE_INFINITY || (Number.isInteger(value) && value >= least);
}

/**
 * Fills in defaults and checks every field.
 *
 * @param vocabSize the model's, against which stop tokens are checked.
 * @returns a frozen, whole set; `topK` and `maxTokens` are Infinity where not given.
 * @throws an error that names the field, what was expected and what came.
 */
export function resolveSampling(sampling: Sampling, vocabSize: number): ResolvedSampling {
  for (const key of Object.keys(sampling)) {
    if (!FIELDS.includes(key)) {
      throw new Error(`generate: expected sampling fields ${FIELDS.join(', ')}, got "${key}".`);
    }
  }
  const {
    temperature = 1,
    topP = 1,
    topK = Number.POSITIVE_INFINITY,
    repetitionPenalty = 1,
    seed = crypto.getRandomValues(new Uint32Array(1))[0],
    maxTokens = Number.POSITIVE_INFINITY,
    stopTokens = [],
  } = sampling;
  check('temperature', temperature, Number.isFinite(temperature) && temperature >= 0, 'a number from 0 up');
  check('topP', topP, topP > 0 && topP <= 1, 'a number above 0 and up to 1 (1 keeps all tokens)');
  check('topK', topK, isWhole(topK, 1), 'a whole number from 1 up, or none to keep all tokens');
  check(
    'repetitionPenalty',
    repetitionPenalty,
    Number.isFinite(repetitionPenalty) && repetitionPenalty > 0,
    'a number above 0 (1 is off)',
  );
  check('seed', seed, Number.isSafeInteger(seed), 'a whole number');
  check('maxTokens', maxTokens, isWhole(maxTokens, 1), 'a whole number from 1 up');
  check(
    'stopTokens',
    stopTokens,
    Array.isArray(stopTokens) && stopTokens.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize),
    `ids from 0 to ${vocabSize - 1}`,
  );
  return Object.freeze({ temperature, topP, topK, repetitionPenalty, seed, maxTokens, stopTokens });
}
