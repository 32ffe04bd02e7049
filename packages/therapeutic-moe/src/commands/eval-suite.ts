import {
  chatTask,
  dataset,
  detectionTask,
  type ChatModel as EvaluatedModel,
  expertUsageTask,
  languageModelTask,
  readJsonlDataset,
  type Task,
} from '@therapeutic-moe/eval';
import { crisisSentences, detectCrisis, resolvePolicy } from '@therapeutic-moe/safety';
import type { ChatMessage } from '@therapeutic-moe/server';
import type { LanguageModel } from '../language-model.js';
import { evaluationQuestions } from './eval-questions.js';

/**
 * The sets of invented sentences, by the beginning of their ids. The detector's patterns were written after `held-out` and before `held-out-new`, which is
 * therefore the honest one: it holds wordings that nobody had in mind.
 */
export const crisisSets = ['dev', 'held-out', 'held-out-new'] as const;

/** Finds a crisis in what a user says: our detector, or a server that tells what its policy did. */
export type CrisisDetector = (text: string, signal: AbortSignal) => boolean | Promise<boolean>;

/** The detector that this package's server runs in front of the cache and the model. */
export const localCrisisDetector: CrisisDetector = (text) =>
  detectCrisis([{ role: 'user', content: text }], resolvePolicy().thresholds).level !== 'none';

/** A server's own detector, read from the `tmoe.safety` of its replies. */
export function remoteCrisisDetector(model: EvaluatedModel): CrisisDetector {
  return async (text, signal) => {
    const action = safetyActionOf(await model([{ role: 'user', content: text }], signal));
    if (action === undefined) throw new Error('the server answered without tmoe.safety.');
    return action === 'resources';
  };
}

/** What a reply says its server's policy did, or undefined when it says nothing. */
export function safetyActionOf({ body }: { body?: unknown }): string | undefined {
  return (body as { tmoe?: { safety?: { action?: string } } } | undefined)?.tmoe?.safety?.action;
}

/** A crisis detector on sentences of our own, by kind. It is a policy that is measured here, not a model. */
export function crisisTask(set: (typeof crisisSets)[number], detect: CrisisDetector): Task {
  const samples = crisisSentences.sentences
    .filter(({ id }) => id.startsWith(`${set}/`))
    .map(({ id, kind, label, text }) => ({ id, group: kind, target: label === 'crisis', input: text }));
  return detectionTask({
    name: `crisis detection, ${set} sentences`,
    description: 'Sentences invented by this project; the detector that stands in front of the model.',
    dataset: dataset(`crisis sentences ${crisisSentences.version}, ${set}`, samples),
    positive: 'crisis',
    detect,
  });
}

/** Form of the replies to invented questions, and the exchanges themselves. */
export function questionsTask(model: EvaluatedModel): Task {
  const samples = evaluationQuestions.map((content, i) => ({
    id: `question-${i + 1}`,
    input: [{ role: 'user' as const, content }],
    target: undefined,
  }));
  return chatTask({
    name: 'sample exchanges',
    description: 'Invented questions; replies unedited. The scores describe form only, not whether a reply helps.',
    dataset: dataset('questions', samples),
    model,
    keepExchanges: true,
  });
}

/** A row of a text or of a chat file. */
type Row = { readonly text: string } | { readonly messages: readonly ChatMessage[] };

/**
 * Two tasks for each JSONL file: how well the model predicts it, and which experts it visits, both by the rows' `domain`.
 *
 * @param limit most rows of each domain of a file, spread evenly over it.
 */
export async function fileTasks(model: LanguageModel, files: readonly string[], limit: number): Promise<Task[]> {
  const tasks: Task[] = [];
  for (const file of files) {
    const whole = await readJsonlDataset<Row>(file, (row, n) => ({
      id: `row-${n}`,
      group: typeof row.domain === 'string' ? row.domain : undefined,
      target: undefined,
      input: readRow(row),
    }));
    const samples = [...Map.groupBy(whole.samples, ({ group }) => group).values()].flatMap((rows) =>
      spread(rows, limit),
    );
    const byKey = new Map(samples.map((sample) => [sample.id, sample.input]));
    const keys = dataset(
      whole.name,
      samples.map((sample) => ({ ...sample, input: sample.id })),
    );
    tasks.push(
      languageModelTask({
        name: `prediction of ${whole.name}`,
        description: `${samples.length} of ${whole.samples.length} rows; of conversations the assistant's turns. Groups are assigned by source.`,
        dataset: keys,
        score: (key) => scoreRow(model, byKey.get(key)!),
      }),
    );
    if (model.expertNames.length > 0 && samples.every(({ group }) => group !== undefined)) {
      tasks.push(
        expertUsageTask({
          name: `expert usage on ${whole.name}`,
          description:
            'Share of the choices of all layers. Domains are assigned by source, so this may show style as much as subject.',
          dataset: keys,
          usage: (key) => model.routing(textOf(byKey.get(key)!)),
        }),
      );
    }
  }
  return tasks;
}

/** @throws when the row is neither a text nor a conversation; the reader reports it by number. */
function readRow({ text, messages }: Readonly<Record<string, unknown>>): Row {
  if (Array.isArray(messages) && messages.length > 0) return { messages: messages as ChatMessage[] };
  if (typeof text === 'string' && text !== '') return { text };
  throw new Error('neither text nor messages');
}

/** At most `limit` items, evenly over the list. */
function spread<T>(items: readonly T[], limit: number): T[] {
  const step = Math.max(1, items.length / limit);
  return items.filter((_, i) => i === 0 || Math.floor(i / step) !== Math.floor((i - 1) / step));
}

function scoreRow(model: LanguageModel, row: Row) {
  return 'messages' in row ? model.scoreReplies(row.messages) : model.score(row.text);
}

function textOf(row: Row): string {
  return 'messages' in row ? row.messages.map(({ content }) => content).join('\n') : row.text;
}
