import type { ChatModel, ChatReply, EvaluationMessage } from '../chat-model.js';
import type { Dataset } from '../dataset.js';
import { type Metric, mean, proportion } from '../metric.js';
import { type Scorer, type Task, task } from '../task.js';

/** What the default scorer of a chat task measures: form only, nothing about whether a reply helps. */
export interface ChatScore {
  readonly answered: boolean;
  readonly finished: boolean;
  readonly words: number;
  /** Share of distinct word pairs among all of the reply's; low when it repeats itself. */
  readonly distinctPairs: number;
  /** Share of the question's content words that the reply takes up. */
  readonly topicOverlap: number;
  readonly milliseconds: number;
}

interface TimedReply {
  readonly reply: ChatReply;
  readonly milliseconds: number;
}

const chatMetrics: readonly Metric<ChatScore>[] = [
  proportion('answered', ({ answered }) => answered, { better: 'higher' }),
  proportion('ended by itself', ({ finished }) => finished, { better: 'higher' }),
  mean('distinct word pairs', ({ distinctPairs }) => distinctPairs, { better: 'higher' }),
  mean('question words taken up', ({ topicOverlap }) => topicOverlap, { better: 'higher' }),
  mean('words per reply', ({ words }) => words, { unit: 'words' }),
  mean('time per reply', ({ milliseconds }) => milliseconds, { unit: 'ms', better: 'lower' }),
];

/** A chat task, with a scorer of its own when it has a target. */
export interface ChatTaskOptions<Target, Score> {
  readonly name: string;
  readonly description?: string;
  readonly dataset: Dataset<readonly EvaluationMessage[], Target>;
  readonly model: ChatModel;
  /** Both together, or neither for `ChatScore`. */
  readonly scoring?: {
    readonly scorer: Scorer<readonly EvaluationMessage[], Target, ChatReply, Score>;
    readonly metrics: readonly Metric<Score>[];
  };
  /** Keeps questions and replies in the results. Only for questions that nobody wrote in confidence. */
  readonly keepExchanges?: boolean;
}

/** Asks a chat model every conversation of a dataset and scores the replies. */
export function chatTask<Target = undefined, Score = ChatScore>(options: ChatTaskOptions<Target, Score>): Task {
  const { model, scoring, keepExchanges = false, ...rest } = options;
  const solver = async (messages: readonly EvaluationMessage[], signal: AbortSignal): Promise<TimedReply> => {
    const start = performance.now();
    const reply = await model(messages, signal);
    if (typeof reply?.text !== 'string') throw new Error('the model must answer { text: string }.');
    return { reply, milliseconds: Math.round(performance.now() - start) };
  };
  const exchange = ({ reply }: TimedReply, { id, input }: { id: string; input: readonly EvaluationMessage[] }) => ({
    id,
    prompt: lastUserText(input),
    reply: reply.text,
  });
  const common = { ...rest, solver, ...(keepExchanges && { exchange }) };
  if (scoring)
    return task({ ...common, scorer: ({ reply }, sample) => scoring.scorer(reply, sample), metrics: scoring.metrics });
  return task({ ...common, scorer: (timed, { input }) => scoreForm(timed, input), metrics: chatMetrics });
}

function scoreForm({ reply, milliseconds }: TimedReply, input: readonly EvaluationMessage[]): ChatScore {
  const words = wordsOf(reply.text);
  const pairs = words.slice(1).map((word, index) => `${words[index]} ${word}`);
  const asked = new Set(wordsOf(lastUserText(input)).filter((word) => word.length > 3 && !COMMON_WORDS.has(word)));
  const taken = [...asked].filter((word) => words.includes(word)).length;
  return {
    answered: words.length > 0,
    finished: reply.finishReason === undefined || reply.finishReason === 'stop',
    words: words.length,
    distinctPairs: pairs.length === 0 ? 0 : new Set(pairs).size / pairs.length,
    topicOverlap: asked.size === 0 ? 0 : taken / asked.size,
    milliseconds,
  };
}

const COMMON_WORDS = new Set(
  'about after again also because been being could does doing down even ever every feel feeling from have having here into just know like make more much only over really should some such than that their them then there these they thing things this those very want were what when where which while will with would your'.split(
    ' ',
  ),
);

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];

const lastUserText = (messages: readonly EvaluationMessage[]): string =>
  messages.findLast(({ role }) => role === 'user')?.content ?? '';
