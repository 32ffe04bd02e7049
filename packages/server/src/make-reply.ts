import type { SafetyPolicy } from '@therapeutic-moe/safety';
import type { ResponseCache } from '@therapeutic-moe/serve-cache';
import type { AdmissionQueue } from './admission-queue.js';
import { type CachedReply, cacheRequestOf } from './cached-reply.js';
import type { ChatMessage, ChatModel, ChatOptions } from './chat-model.js';
import { generateReply } from './generate-reply.js';
import type { ReplyEnd, ReplyReport } from './reply-report.js';
import { decideBefore, type GateDecision, withholdReply } from './safety-gate.js';
import { SentenceBuffer } from './sentence-buffer.js';
import { TextChannel } from './text-channel.js';

/** One question, validated and complete. */
export interface Question {
  model: ChatModel;
  messages: ChatMessage[];
  options: ChatOptions;
  /** Whose cached answers may be read and written; absent goes past the cache. */
  tenant?: string;
  /** Extra text of the cache key. */
  cacheSalt?: string;
  /** `performance.now()` when the request came. */
  receivedAt: number;
}

/** What every reply is made with. */
export interface ReplyParts {
  policy: SafetyPolicy;
  cache?: ResponseCache<CachedReply>;
  queue: AdmissionQueue;
}

/**
 * Makes one reply in the fixed order: safety assessment, cache, admission queue, model, output check. A crisis is
 * answered from the policy before the cache or the model are touched.
 *
 * @returns text that has passed the output check, sentence by sentence; then how the reply ended.
 */
export async function* makeReply(
  question: Question,
  parts: ReplyParts,
  signal: AbortSignal,
): AsyncGenerator<string, ReplyEnd> {
  const decision = decideBefore(question.messages, parts.policy);
  const report = (rest: Pick<ReplyReport, 'cache' | 'routing'> & Partial<ReplyReport>): ReplyReport => ({
    safety: decision.report,
    latencyMs: Math.round(performance.now() - question.receivedAt),
    ...rest,
  });
  if (decision.answer !== undefined) {
    yield* inSentences(decision.answer);
    return {
      finishReason: 'stop',
      usage: { promptTokens: 0, completionTokens: 0 },
      report: report({ cache: 'bypass', routing: {} }),
    };
  }
  const { reply, cache } = yield* cachedOrWritten(question, decision, parts, signal);
  const tokensPerSecond =
    reply.seconds === undefined ? undefined : Math.round((10 * reply.usage.completionTokens) / reply.seconds) / 10;
  return {
    finishReason: reply.withheld === undefined ? reply.finishReason : 'content_filter',
    usage: reply.usage,
    report: report({
      cache,
      routing: reply.routing,
      tokensPerSecond,
      ...(reply.withheld === undefined ? {} : { safety: { ...decision.report, ...reply.withheld } }),
    }),
    generationSeconds: reply.seconds,
  };
}

/** A reply as the model just wrote it; one from the cache has no `seconds`. */
interface WrittenReply extends CachedReply {
  seconds?: number;
}

async function* cachedOrWritten(
  question: Question,
  decision: GateDecision,
  parts: ReplyParts,
  signal: AbortSignal,
): AsyncGenerator<string, { reply: WrittenReply; cache: ReplyReport['cache'] }> {
  if (decision.note !== undefined) yield `${decision.note}\n\n`;
  if (parts.cache === undefined) return { reply: yield* writtenReply(question, parts, signal), cache: 'bypass' };
  // Writer and reader are apart, because another request may wait for the same answer when this reader leaves.
  const channel = new TextChannel();
  let written: WrittenReply | undefined;
  const write = async (writing: AbortSignal) => {
    written = (await drain(writtenReply(question, parts, writing), (piece) => channel.push(piece))).end;
    const { seconds: _, ...value } = written;
    return { value, complete: written.withheld === undefined };
  };
  const request = cacheRequestOf(question, parts.policy.version, decision.cacheable);
  const outcome = parts.cache.answer(request, write, signal).finally(() => channel.close());
  outcome.catch(() => {}); // reported below, unless the reader has left by then
  yield* channel;
  const { value, cache } = await outcome;
  if (written !== undefined) return { reply: written, cache };
  yield* inSentences(value.text);
  return { reply: value, cache };
}

/** The model's reply, released sentence by sentence once the output check has seen each of them in its context. */
async function* writtenReply(
  { model, messages, options }: Question,
  { policy, queue }: ReplyParts,
  signal: AbortSignal,
): AsyncGenerator<string, WrittenReply> {
  const source = generateReply(model, messages, options, queue, signal);
  const sentences = new SentenceBuffer();
  let text = '';
  let withheld: WrittenReply['withheld'];
  try {
    for (;;) {
      const next = await source.next();
      const ready = next.done ? sentences.flush() : sentences.push(next.value);
      if (ready !== '' && withheld === undefined) {
        const verdict = withholdReply(text + ready, policy);
        const released = verdict === undefined ? ready : `${text === '' ? '' : '\n\n'}${verdict.instead}`;
        withheld = verdict?.report;
        text += released;
        yield released;
      }
      // A withheld reply runs to its end unseen, so that usage and routing stay what was really spent.
      if (next.done) return { ...next.value, text, withheld };
    }
  } finally {
    await source.return(undefined as never);
  }
}

/** Runs a reply to its end, handing over each piece. */
export async function drain<T>(
  reply: AsyncGenerator<string, T>,
  onText: (text: string) => void = () => {},
): Promise<{ text: string; end: T }> {
  let text = '';
  for (;;) {
    const next = await reply.next();
    if (next.done) return { text, end: next.value };
    text += next.value;
    onText(next.value);
  }
}

function inSentences(text: string): string[] {
  return text.match(/[\s\S]+?(?:[.!?…]["'”’)\]]*\s+|\n+|$)/g) ?? [];
}
