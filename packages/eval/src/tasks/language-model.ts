import type { Dataset } from '../dataset.js';
import { byGroup, ratioOfSums } from '../metric.js';
import { type Task, task } from '../task.js';

/** What a language model makes of one text. */
export interface LanguageModelScore {
  /** Negative log-likelihood of the counted tokens, natural logarithm, summed. */
  readonly nats: number;
  /** Tokens counted. */
  readonly tokens: number;
  /** UTF-8 bytes of the text those tokens stand for. */
  readonly bytes: number;
}

/** Scores a text by a language model. */
export type LanguageModel = (text: string, signal: AbortSignal) => Promise<LanguageModelScore>;

const bitsPerByte = ratioOfSums<LanguageModelScore>(
  'bits per byte',
  ({ nats }) => nats,
  ({ bytes }) => bytes,
  (ratio) => ratio / Math.LN2,
  {
    unit: 'bits/byte',
    better: 'lower',
  },
);
const perplexity = ratioOfSums<LanguageModelScore>(
  'perplexity',
  ({ nats }) => nats,
  ({ tokens }) => tokens,
  Math.exp,
  { unit: 'per token', better: 'lower' },
);

/**
 * How well a model predicts text: bits per byte (comparable between tokenizers) and perplexity := exp(mean nats per token) (not
 * comparable), over all texts and per group.
 */
export function languageModelTask(options: {
  readonly name: string;
  readonly description?: string;
  readonly dataset: Dataset<string>;
  readonly score: LanguageModel;
}): Task {
  const { score, ...rest } = options;
  return task({
    ...rest,
    solver: score,
    scorer: ({ nats, tokens, bytes }) => {
      if (!(nats >= 0)) throw new Error(`nats must be a number of at least 0, got ${nats}.`);
      if (!(tokens > 0) || !(bytes > 0))
        throw new Error(`tokens and bytes must be above 0, got ${tokens} and ${bytes}.`);
      return { nats, tokens, bytes };
    },
    metrics: [bitsPerByte, byGroup(bitsPerByte), perplexity, byGroup(perplexity)],
  });
}
