import type { ReplyEnd } from './reply-report.js';

/** What all parts of one completion repeat. */
export interface CompletionHead {
  id: string;
  created: number;
  model: string;
}

/** The JSON body of a completion, in OpenAI's shape with our one extra field `tmoe`. */
export function completionBody(head: CompletionHead, text: string, end: ReplyEnd) {
  return {
    id: head.id,
    object: 'chat.completion' as const,
    created: head.created,
    model: head.model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant' as const, content: text, refusal: null },
        logprobs: null,
        finish_reason: end.finishReason,
      },
    ],
    usage: usageBody(end),
    tmoe: end.report,
  };
}

/**
 * The server-sent events of a completion: a first delta with the role, the text, an empty delta with `finish_reason`
 * and `tmoe`, usage where it was asked for, `[DONE]`.
 */
export async function* completionEvents(
  head: CompletionHead,
  reply: AsyncIterator<string, ReplyEnd>,
  includeUsage: boolean,
): AsyncGenerator<string, ReplyEnd> {
  const usageField = includeUsage ? { usage: null } : {};
  const chunk = (delta: object, finishReason: string | null, more: object = {}) =>
    event({
      ...head,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
      ...usageField,
      ...more,
    });
  yield chunk({ role: 'assistant', content: '' }, null);
  for (;;) {
    const next = await reply.next();
    if (next.done) {
      yield chunk({}, next.value.finishReason, { tmoe: next.value.report });
      if (includeUsage) {
        yield event({ ...head, object: 'chat.completion.chunk', choices: [], usage: usageBody(next.value) });
      }
      yield 'data: [DONE]\n\n';
      return next.value;
    }
    yield chunk({ content: next.value }, null);
  }
}

/** One server-sent event. */
export function event(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

function usageBody({ usage: { promptTokens, completionTokens } }: ReplyEnd) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}
