import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallTokenizer, smallTokenizerJson } from '../test/small-tokenizer.js';
import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig } from './chat-template.js';
import { StreamDecoder } from './stream-decoder.js';
import { Tokenizer } from './tokenizer.js';

const json = smallTokenizerJson();
const tokenizer = smallTokenizer();
/** Any text of whole characters: letters, controls, emoji, unassigned code points. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 37 }),
  fc.string({ unit: 'grapheme', maxLength: 37 }),
  fc.string({ unit: fc.constantFrom(...CHAT_SPECIAL_TOKENS, '<', '|', '>', ' ', '\n', 'feel', 'user'), maxLength: 17 }),
);

describe('Tokenizer.encode and decode', () => {
  it('gives every text back exactly', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { seed: 1, numRuns: 2000 },
    );
  });

  it.each([
    '',
    ' ',
    '\ufeffmark',
    'e\u0301',
    '👩‍👩‍👧‍👦 🏳️‍🌈',
    'שלום 你好',
    "it 's , . n't",
    '\r\n\t\0',
    '__proto__ constructor',
  ])('gives %j back exactly', (text) => {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it('encodes as @huggingface/tokenizers does with the same file', () => {
    const reference = new HuggingFaceTokenizer({ ...json, added_tokens: [] }, {});
    const words = fc.constantFrom(
      'I feel tired',
      ' today',
      '  ',
      '\n',
      '\r\n',
      "'s",
      '12345',
      ', ',
      '☕',
      'é',
      '\u00a0',
      '…',
    );
    fc.assert(
      fc.property(fc.oneof(anyText, fc.string({ unit: words, maxLength: 9 })), (text) => {
        expect(tokenizer.encode(text)).toEqual(reference.encode(text, { add_special_tokens: false }).ids);
      }),
      { seed: 3, numRuns: 1000 },
    );
    expect(tokenizer.encode('I feel tired today')).toHaveLength(4);
  });

  it('does so for files that do more than cut words: normalise, add tokens, cut as GPT-2', () => {
    const text = 'ﬁne  words<think> and\n\n12345';
    const think = { id: 310, content: '<think>', special: false, normalized: false };
    for (const change of [
      { normalizer: { type: 'NFKC' } },
      { added_tokens: [...json.added_tokens, think] },
      { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, use_regex: true } },
    ]) {
      const file = { ...json, ...change };
      const reference = new HuggingFaceTokenizer(file, {}).encode(text, { add_special_tokens: false }).ids;
      expect(Tokenizer.fromJson(file).encode(text)).toEqual(reference);
    }
  });

  it('encodes a special token that a text spells as text, unless asked', () => {
    const text = 'a<|endoftext|>b';
    expect(tokenizer.encode(text).some((id) => tokenizer.isSpecial(id))).toBe(false);
    const parsed = tokenizer.encode(text, { parseSpecialTokens: true });
    expect(parsed).toEqual([...tokenizer.encode('a'), 0, ...tokenizer.encode('b')]);
    expect(tokenizer.decode(parsed)).toBe('ab');
    expect(tokenizer.decode(parsed, { skipSpecialTokens: false })).toBe(text);
  });

  it('turns a lone surrogate, which UTF-8 lacks, into U+FFFD', () => {
    expect(tokenizer.decode(tokenizer.encode('a\ud800b'))).toBe('a\ufffdb');
  });

  it('adds what the post-processor adds, when asked', () => {
    const framed = Tokenizer.fromJson({
      ...json,
      post_processor: {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: '<|endoftext|>', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
          { SpecialToken: { id: '<|user|>', type_id: 0 } },
        ],
        pair: [],
        special_tokens: {},
      },
    });
    const ids = tokenizer.encode('feel');
    expect(framed.encode('feel')).toEqual(ids);
    expect(framed.encode('feel', { addSpecialTokens: true })).toEqual([0, ...ids, 2]);
    expect(framed.encode('', { addSpecialTokens: true })).toEqual([0, 2]);
  });

  it('knows its size and its tokens', () => {
    expect(tokenizer.vocabSize).toBe(310);
    expect([tokenizer.eosTokenId, tokenizer.bosTokenId, tokenizer.padTokenId]).toEqual([0, 0, 0]);
    expect(CHAT_SPECIAL_TOKENS.map((token) => tokenizer.tokenId(token))).toEqual([0, 1, 2, 3]);
    expect(Tokenizer.fromJson(json).eosTokenId).toBeUndefined();
    expect(() => tokenizer.tokenId('<|nobody|>')).toThrow(
      'tokenId: expected a token of the vocabulary (310 entries), got "<|nobody|>"',
    );
  });

  it.each([310, -1, 0.5, Number.NaN])('refuses the id %d', (id) => {
    expect(() => tokenizer.decode([5, id])).toThrow(`expected token ids from 0 to 309, got ${id}`);
  });

  it('refuses a text that is not a string', () => {
    expect(() => tokenizer.encode(undefined as unknown as string)).toThrow('encode: expected a string, got undefined');
  });
});

describe('StreamDecoder', () => {
  it('yields whole characters only, and the same text as decode', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const stream = new StreamDecoder(tokenizer);
        const pieces = tokenizer.encode(text).map((id) => stream.push(id));
        for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
        if (!text.includes('\ufffd')) expect(pieces.join('')).not.toContain('\ufffd');
        expect(pieces.join('') + stream.flush()).toBe(text);
      }),
      { seed: 6, numRuns: 1000 },
    );
  });

  it('holds an emoji back until its last byte', () => {
    const ids = tokenizer.encode('🙂');
    expect(ids).toHaveLength(4);
    const stream = new StreamDecoder(tokenizer);
    expect(ids.map((id) => stream.push(id))).toEqual(['', '', '', '🙂']);
    expect(stream.flush()).toBe('');
  });

  it('marks an unfinished character at the end, and agrees with decode for any ids', () => {
    const stream = new StreamDecoder(tokenizer);
    expect(stream.push(tokenizer.encode('🙂')[0])).toBe('');
    expect(stream.flush()).toBe('\ufffd');
    fc.assert(
      fc.property(fc.array(fc.nat(309), { maxLength: 23 }), fc.boolean(), (ids, skipSpecialTokens) => {
        const reference = new HuggingFaceTokenizer(json, { clean_up_tokenization_spaces: false });
        const expected = ids.length ? reference.decode(ids, { skip_special_tokens: skipSpecialTokens }) : '';
        expect(tokenizer.decode(ids, { skipSpecialTokens })).toBe(expected);
      }),
      { seed: 8, numRuns: 100 },
    );
  });
});

describe('Tokenizer.fromDirectory', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  it('reads the files, and works without a config', async () => {
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(json));
    const bare = await Tokenizer.fromDirectory(folder);
    expect(bare.encode('feel')).toEqual(tokenizer.encode('feel'));
    expect(() => bare.encodeChat([{ role: 'user', content: 'Hi' }])).toThrow('expected a chat_template');
    await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(chatTokenizerConfig(512)));
    expect((await Tokenizer.fromDirectory(folder)).eosTokenId).toBe(0);
    await writeFile(join(folder, 'chat_template.jinja'), '{{ messages[0]["content"] }}!');
    const replaced = await Tokenizer.fromDirectory(folder);
    expect(replaced.applyChatTemplate([{ role: 'user', content: 'Hi' }])).toBe('Hi!');
  });

  it('names the file that is missing or broken', async () => {
    const empty = await mkdtemp(join(folder, 'empty-'));
    await expect(Tokenizer.fromDirectory(empty)).rejects.toThrow('expected a tokenizer.json in this folder, got none');
    await writeFile(join(empty, 'tokenizer.json'), '{"model":');
    await expect(Tokenizer.fromDirectory(empty)).rejects.toThrow(
      /tokenizer\.json: expected JSON, got text that does not parse/,
    );
    await writeFile(join(empty, 'tokenizer.json'), '[]');
    await expect(Tokenizer.fromDirectory(empty)).rejects.toThrow('expected a JSON object, got a list');
  });
});

describe('Tokenizer.fromJson', () => {
  const model = (change: object): object => ({ ...json, model: { ...json.model, ...change } });
  const { a: _, ...withoutA } = json.model.vocab;

  it.each<[string, object, string]>([
    ['nothing', {}, 'model.type: expected "BPE", the only kind this package reads, got nothing'],
    [
      'another model',
      model({ type: 'Unigram' }),
      'model.type: expected "BPE", the only kind this package reads, got "Unigram"',
    ],
    ['no vocabulary', model({ vocab: [] }), 'model.vocab: expected an object of token → id, got []'],
    [
      'a fractional id',
      model({ vocab: { ...json.model.vocab, zz: 1.5 } }),
      'model.vocab["zz"]: expected an id from 0 up, got 1.5',
    ],
    ['an id twice', model({ vocab: { ...json.model.vocab, zz: 9 } }), 'expected an id of its own'],
    [
      'a missing byte',
      model({ vocab: withoutA }),
      'model.vocab: expected all 256 characters of the byte alphabet, got "none for \\"a\\""',
    ],
    [
      'a token outside the alphabet',
      model({ vocab: { ...json.model.vocab, 你: 400 } }),
      "expected characters of GPT-2's byte alphabet",
    ],
    ['merges that are text', model({ merges: 'a b' }), 'model.merges: expected a list of pairs'],
    [
      'a merge of three',
      model({ merges: [['a', 'b', 'c']] }),
      'model.merges[0]: expected two tokens, got ["a","b","c"]',
    ],
    [
      'a merge of strangers',
      model({ merges: ['q w'] }),
      'model.merges[0]: expected tokens of the vocabulary ("qw" is not), got "q w"',
    ],
    [
      'another pre-tokenizer',
      { ...json, pre_tokenizer: { type: 'Whitespace' } },
      'pre_tokenizer: expected a ByteLevel step',
    ],
    ['no decoder', { ...json, decoder: null }, 'decoder: expected a ByteLevel step'],
    [
      'an added token without id',
      { ...json, added_tokens: [{ content: 'x' }] },
      'added_tokens[0]: expected {id, content}',
    ],
    [
      'an added token with the id of another',
      { ...json, added_tokens: [{ id: 9, content: '<x>' }] },
      'added_tokens[0].id: expected',
    ],
    [
      'a step nobody knows',
      { ...json, normalizer: { type: 'Magic' } },
      'expected steps that can be built, got: Unknown Normalizer type: Magic',
    ],
  ])('refuses %s', (_name, broken, message) => {
    expect(() => Tokenizer.fromJson(broken)).toThrow(message);
  });

  it.each<[object, string]>([
    [{ eos_token: 5 }, 'eos_token: expected a token or {content}, got 5'],
    [{ eos_token: '<nobody>' }, 'expected a token of the vocabulary'],
    [{ chat_template: 7 }, 'chat_template: expected a text'],
    [{ chat_template: '{% for %}' }, 'chat_template: expected a Jinja template'],
  ])('refuses the config %j', (config, message) => {
    expect(() => Tokenizer.fromJson(json, config)).toThrow(message);
  });

  it('reads tokens written as {content} and a list of named templates', () => {
    const read = Tokenizer.fromJson(json, {
      eos_token: { content: '<|user|>', lstrip: false },
      chat_template: [{ name: 'default', template: 'T{{ eos_token }}' }],
    });
    expect(read.eosTokenId).toBe(2);
    expect(read.applyChatTemplate([{ role: 'user', content: '' }])).toBe('T<|user|>');
  });

  it('reads merges written as text', () => {
    const merges = json.model.merges.map((pair) => pair.join(' '));
    expect(Tokenizer.fromJson(model({ merges })).encode('I feel tired')).toEqual(tokenizer.encode('I feel tired'));
  });
});
