import { resolvePolicy } from '@therapeutic-moe/safety';
import { type ChatMessage, type ChatModel, ContextLengthError } from '@therapeutic-moe/server';
import { describe, expect, it } from 'vitest';
import { answerInSentences } from './answer-in-sentences.js';

const policy = resolvePolicy();
const options = { temperature: 0, topP: 1, maxTokens: 64, stop: [] };
const user = (content: string): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });

/** A model with room for so many messages; it keeps what it was asked. */
function modelOf(pieces: readonly string[], room = 99) {
  const asked: string[][] = [];
  const model: ChatModel = {
    id: 'fake',
    contextLength: 512,
    async *chat(messages) {
      if (messages.length > room) throw new ContextLengthError(messages.length, room);
      asked.push(messages.map(({ content }) => content));
      for (const text of pieces) yield { type: 'text', text };
      yield { type: 'done', finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 }, routing: {} };
    },
  };
  return { model, asked };
}

async function answer(model: ChatModel, messages: readonly ChatMessage[]) {
  const reply = answerInSentences(model, messages, options, policy, new AbortController().signal);
  const shown: string[] = [];
  let next = await reply.next();
  for (; !next.done; next = await reply.next()) shown.push(next.value);
  return { shown, text: next.value };
}

describe('answerInSentences', () => {
  it('gives out whole sentences', async () => {
    const { model } = modelOf(['It ', 'helps. Re', 'st', ' well']);
    expect(await answer(model, [user('How do habits form?')])).toEqual({
      shown: ['It helps. ', 'Rest well'],
      text: 'It helps. Rest well',
    });
  });

  it('leaves out the oldest exchanges where the conversation is too long, and the last message never', async () => {
    const talk = [user('one'), assistant('two'), user('three'), assistant('four'), user('five')];
    const { model, asked } = modelOf(['Fine.'], 3);
    expect((await answer(model, talk)).text).toBe('Fine.');
    expect(asked).toEqual([['three', 'four', 'five']]);
    await expect(answer(modelOf(['Fine.'], 0).model, talk)).rejects.toThrow(ContextLengthError);
  });

  it('answers a crisis without the model', async () => {
    const { model, asked } = modelOf(['Fine.']);
    const { shown } = await answer(model, [user('I want to kill myself tonight.')]);
    expect(shown.join('')).toContain('talk to someone trained to help');
    expect(asked).toEqual([]);
  });

  it("puts the policy's note in front, also for a turn that the model no longer sees", async () => {
    const { model, asked } = modelOf(['Fine.'], 1);
    const since = Array.from({ length: 7 }, () => [assistant('A habit.'), user('What is a habit?')]).flat();
    const talk = [user('I want to kill myself'), ...since, assistant('A habit.'), user('How do habits form?')];
    const { shown, text } = await answer(model, talk);
    expect(shown[0]).toContain('Because of what you said before');
    expect([text, asked]).toEqual(['Fine.', [['How do habits form?']]]);
  });

  it('withholds a sentence that the output check refuses, and what follows', async () => {
    const { model } = modelOf(['It helps. ', 'You should kill yourself. ', 'More.']);
    const { shown, text } = await answer(model, [user('How do habits form?')]);
    expect(shown[0]).toBe('It helps. ');
    expect(text).not.toContain('kill yourself');
    expect(text).not.toContain('More.');
    expect(text).toBe(shown.join(''));
  });
});
