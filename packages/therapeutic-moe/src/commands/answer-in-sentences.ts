import { assessMessages, checkReply, type SafetyPolicy, safetyNote, safetyReply } from '@therapeutic-moe/safety';
import { type ChatMessage, type ChatModel, type ChatOptions, SentenceBuffer } from '@therapeutic-moe/server';

/**
 * Answers a conversation as the server does: the safety policy comes first, and every sentence passes the output check,
 * in the context of the reply so far, before it is given out. Where the conversation does not fit the model, its oldest
 * exchanges are left out for the model; the policy still reads them.
 *
 * @param messages the whole conversation, a user's turn last.
 * @returns what to show, sentence by sentence; then the reply without the policy's note in front of it.
 * @throws ContextLengthError when even the last message alone does not fit.
 */
export async function* answerInSentences(
  model: ChatModel,
  messages: readonly ChatMessage[],
  options: ChatOptions,
  policy: SafetyPolicy,
  signal: AbortSignal,
): AsyncGenerator<string, string> {
  const assessment = assessMessages(messages, policy);
  const instead = safetyReply(assessment, policy);
  if (instead !== undefined) {
    yield instead;
    return instead;
  }
  const note = safetyNote(assessment, policy);
  if (note !== undefined) yield `${note}\n\n`;
  let text = '';
  for await (const sentences of sentencesOf(model, messages, options, signal)) {
    const check = checkReply(text + sentences, policy);
    const shown = check.action === 'pass' ? sentences : `${text === '' ? '' : '\n\n'}${check.text}`;
    text += shown;
    yield shown;
    if (check.action !== 'pass') break;
  }
  return text;
}

/** The model's reply in whole sentences, to as much of the conversation as fits. */
async function* sentencesOf(
  model: ChatModel,
  messages: readonly ChatMessage[],
  options: ChatOptions,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const buffer = new SentenceBuffer();
  try {
    for await (const event of model.chat([...messages], options, signal)) {
      const ready = event.type === 'text' ? buffer.push(event.text) : buffer.flush();
      if (ready !== '') yield ready;
    }
  } catch (error) {
    // Thrown before the first piece, so nothing has been given out yet.
    const tooLong = (error as { code?: unknown }).code === 'context_length_exceeded';
    if (!tooLong || messages.length < 3) throw error;
    yield* sentencesOf(model, messages.slice(2), options, signal);
  }
}
