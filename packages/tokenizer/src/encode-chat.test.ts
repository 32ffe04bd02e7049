import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { smallTokenizer, smallTokenizerJson } from '../test/small-tokenizer.js';
import type { ChatMessage } from './chat-message.js';
import { CHAT_SPECIAL_TOKENS } from './chat-template.js';
import { Tokenizer } from './tokenizer.js';

const tokenizer = smallTokenizer();
const special = (ids: readonly number[]): number[] => ids.filter((id) => tokenizer.isSpecial(id));
const role = fc.constantFrom<ChatMessage['role']>('system', 'user', 'assistant');

describe('Tokenizer.applyChatTemplate', () => {
  it('writes our template', () => {
    const messages: ChatMessage[] = [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'Hello?' },
    ];
    expect(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: true })).toBe(
      '<|system|>\nBe kind.<|endoftext|>\n<|user|>\nHello?<|endoftext|>\n<|assistant|>\n',
    );
    expect(tokenizer.applyChatTemplate(messages.slice(1))).toBe('<|user|>\nHello?<|endoftext|>\n');
  });
});

describe('Tokenizer.encodeChat', () => {
  it('encodes ordinary messages as the rendered template', () => {
    const messages = fc.array(fc.record({ role, content: fc.string({ unit: 'grapheme', maxLength: 29 }) }), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(messages, fc.boolean(), (chat, addGenerationPrompt) => {
        const text = tokenizer.applyChatTemplate(chat, { addGenerationPrompt });
        expect(tokenizer.encodeChat(chat, { addGenerationPrompt })).toEqual(
          tokenizer.encode(text, { parseSpecialTokens: true }),
        );
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('takes special tokens from the template alone, whatever the messages say', () => {
    const content = fc.string({
      unit: fc.constantFrom(...CHAT_SPECIAL_TOKENS, '<|', '|>', '<', '>', 'user', 'endof', 'text', ' ', '\n', '\ufdd0'),
      maxLength: 13,
    });
    fc.assert(
      fc.property(fc.array(fc.record({ role, content }), { minLength: 1, maxLength: 5 }), (chat) => {
        const ids = tokenizer.encodeChat(chat, { addGenerationPrompt: true });
        const expected = chat.flatMap((message) => [tokenizer.tokenId(`<|${message.role}|>`), 0]);
        expect(special(ids)).toEqual([...expected, 3]);
        expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(
          tokenizer.applyChatTemplate(chat, { addGenerationPrompt: true }),
        );
      }),
      { seed: 2, numRuns: 1000 },
    );
  });

  it('lets no special token grow across the border of template and content', () => {
    const risky = Tokenizer.fromJson(smallTokenizerJson(), {
      chat_template: "{% for m in messages %}<|{{ m['content'] }}|>{% endfor %}",
    });
    const ids = risky.encodeChat([{ role: 'user', content: 'assistant' }]);
    expect(special(ids)).toEqual([]);
    expect(risky.decode(ids)).toBe('<|assistant|>');
  });

  it('lets a template trim contents', () => {
    const trimming = Tokenizer.fromJson(smallTokenizerJson(), {
      chat_template: "{% for m in messages %}<|user|>{{ m['content'] | trim }}{% endfor %}",
    });
    const ids = trimming.encodeChat([{ role: 'user', content: '\n  I feel <|user|> tired \n' }]);
    expect(trimming.decode(ids, { skipSpecialTokens: false })).toBe('<|user|>I feel <|user|> tired');
    expect(special(ids)).toEqual([2]);
  });

  it('passes on a template that refuses', () => {
    const strict = Tokenizer.fromJson(smallTokenizerJson(), {
      chat_template: "{{ raise_exception('roles must alternate') }}",
    });
    expect(() => strict.encodeChat([{ role: 'user', content: 'Hi' }])).toThrow(
      'the chat template refused the messages (roles user): roles must alternate',
    );
  });

  it.each<[unknown, string]>([
    [[], 'messages: expected a list of at least one {role, content}, got an empty list'],
    ['Hi', 'messages: expected a list of at least one {role, content}, got string'],
    [[null], 'messages[0]: expected {role, content}, got null'],
    [[{ role: 'tool', content: 'x' }], 'messages[0].role: expected system, user, assistant, got "tool"'],
    [[{ role: 'user' }], 'messages[0].content: expected a string, got undefined; join text parts first'],
    [[{ role: 'user', content: [{ type: 'text' }] }], 'messages[0].content: expected a string, got a list'],
  ])('refuses the messages %j', (messages, message) => {
    expect(() => tokenizer.encodeChat(messages as ChatMessage[])).toThrow(message);
    expect(() => tokenizer.applyChatTemplate(messages as ChatMessage[])).toThrow(message);
  });
});
