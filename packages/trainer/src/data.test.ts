import { describe, expect, it } from 'vitest';
import { toyDocuments } from '../test/toy-trainable.js';
import {
  chatData,
  chatEvaluation,
  type DataSource,
  encodeConversation,
  ignoredTarget,
  packedEvaluation,
  packedText,
  type TrainMessage,
} from './index.js';

const eosTokenId = 0;
const textOptions = { batch: 2, seq: 7, eosTokenId, seed: 5 };

describe('packedText', () => {
  it('loses no token: consecutive rows of one domain spell the documents with eos before each', () => {
    const documents = toyDocuments(6).map((document) => ({ ...document, domain: 0 }));
    const data = packedText(documents, textOptions);
    const stream: number[] = [];
    const total = documents.reduce((sum, document) => sum + document.ids.length + 1, 0);
    while (stream.length < total) for (const batch of data.nextStep(1)) stream.push(...batch.ids);
    const spelled = stream
      .slice(0, total)
      .join(' ')
      .split(/(?:^| )0 /)
      .filter(Boolean)
      .map((text) => text.trim())
      .sort();
    expect(spelled).toEqual(documents.map((document) => [...document.ids].join(' ')).sort());
  });

  it('targets are the next inputs, across rows and steps', () => {
    const data = packedText(
      toyDocuments(6).map((document) => ({ ...document, domain: 0 })),
      { ...textOptions, batch: 1 },
    );
    const [first, second] = [...data.nextStep(1), ...data.nextStep(1)];
    expect([...first.targets.slice(0, -1)]).toEqual([...first.ids.slice(1)]);
    expect(first.targets.at(-1)).toBe(second.ids[0]);
  });

  it('draws rows by domain weight and labels every token', () => {
    const data = packedText(toyDocuments(), { ...textOptions, domainWeights: { 0: 0.8, 1: 0.2 } });
    for (const batch of data.nextStep(500)) expect(new Set(batch.domains.slice(0, batch.seq)).size).toBe(1);
    const [zero, one] = data.drawn();
    expect(zero + one).toBe(1000);
    expect(zero / 1000).toBeGreaterThan(0.76);
    expect(zero / 1000).toBeLessThan(0.84);
  });

  it('draws documents without a domain as a group of their own and leaves their tokens unlabelled', () => {
    const unlabelled = toyDocuments().map((document) => ({ ...document, domain: document.domain === 0 ? -1 : 1 }));
    const rows = packedText(unlabelled, { ...textOptions, batch: 1 }).nextStep(200);
    for (const { domains } of rows) expect(new Set(domains).size).toBe(1);
    expect(new Set(rows.map(({ domains }) => domains[0]))).toEqual(new Set([-1, 1]));
    expectResumable(() => packedText(unlabelled, textOptions));
    expect(() => packedText(unlabelled, { ...textOptions, domainWeights: { 1: 1 } })).toThrow(
      'items have no domain but weights per domain are given',
    );
  });

  it('goes on from a saved state, which is JSON', () => {
    expectResumable(() => packedText(toyDocuments(), { ...textOptions, domainWeights: { 0: 0.5, 1: 0.5 } }));
  });

  it('gives another order for another seed', () => {
    const ids = (seed: number) =>
      packedText(toyDocuments(), { ...textOptions, seed })
        .nextStep(3)
        .flatMap((batch) => [...batch.ids]);
    expect(ids(1)).not.toEqual(ids(2));
    expect(ids(1)).toEqual(ids(1));
  });

  it('refuses weights that do not fit the data and a state of other data', () => {
    expect(() => packedText(toyDocuments(), { ...textOptions, domainWeights: { 0: 1 } })).toThrow(
      'domain 1 has 5 items but its weight is undefined',
    );
    expect(() => packedText(toyDocuments(), { ...textOptions, domainWeights: { 0: 1, 1: 1, 3: 1 } })).toThrow(
      'domain 3 has weight 1 but no items',
    );
    expect(() => packedText([], textOptions)).toThrow('there are no documents');
    const state = packedText(toyDocuments(4), textOptions).state();
    expect(() => packedText(toyDocuments(5), textOptions).restore(state)).toThrow('the saved state is of 4 items');
    expect(() => packedText(toyDocuments(4), { ...textOptions, seq: 5 }).restore(state)).toThrow(
      'has seq 7, this run 5',
    );
  });
});

describe('packedEvaluation', () => {
  it('predicts every token of every document once', () => {
    const documents = toyDocuments(5);
    const { batches, tokens, bytes } = packedEvaluation(documents, { batch: 2, seq: 7, eosTokenId });
    const targets = batches.flatMap((batch) => [...batch.targets].filter((target) => target !== ignoredTarget));
    expect(targets).toEqual(
      documents.flatMap((document, i) => [...(i > 0 ? [eosTokenId] : []), ...document.ids]).concat(eosTokenId),
    );
    expect(tokens).toBe(targets.length);
    expect(bytes).toBe(documents.reduce((sum, document) => sum + document.bytes, 0));
  });

  it('keeps to whole documents within maxTokens', () => {
    const documents = toyDocuments(40);
    const { tokens, bytes } = packedEvaluation(documents, { batch: 2, seq: 7, eosTokenId, maxTokens: 100 });
    expect(tokens).toBeLessThanOrEqual(101);
    expect(tokens).toBeGreaterThan(70);
    expect(bytes).toBeLessThan(tokens);
  });
});

// A chat template over single characters: role letter, content, then eos and a line feed.
const letters = (text: string) => [...text].map((letter) => 10 + letter.charCodeAt(0));
const encodeChat = (messages: TrainMessage[], { addGenerationPrompt }: { addGenerationPrompt: boolean }) => [
  ...messages.flatMap(({ role, content }) => [role === 'assistant' ? 3 : 2, ...letters(content), eosTokenId, 9]),
  ...(addGenerationPrompt ? [3] : []),
];
const talk: TrainMessage[] = [
  { role: 'user', content: 'hey' },
  { role: 'assistant', content: 'yes?' },
  { role: 'user', content: 'how so' },
  { role: 'assistant', content: 'ünd' },
];
const encoding = { encodeChat, eosTokenId, maxTokens: 64 };

describe('encodeConversation', () => {
  it('counts the replies with their end token and nothing else', () => {
    const { ids, counted, bytes, dropped } = encodeConversation(talk, encoding)!;
    expect([...ids].filter((_, i) => counted[i])).toEqual([
      ...letters('yes?'),
      eosTokenId,
      ...letters('ünd'),
      eosTokenId,
    ]);
    expect({ bytes, dropped }).toEqual({ bytes: 8, dropped: 0 });
  });

  it('drops the oldest turns first and gives up when the last turn alone is too long', () => {
    const short = encodeConversation(talk, { ...encoding, maxTokens: 18 })!;
    expect(short.dropped).toBe(2);
    expect([...short.ids].filter((_, i) => short.counted[i])).toEqual([...letters('ünd'), eosTokenId]);
    expect(encodeConversation(talk, { ...encoding, maxTokens: 9 })).toBeUndefined();
  });

  it('refuses a conversation without a reply', () => {
    expect(() => encodeConversation(talk.slice(0, 1), encoding)).toThrow('there is no assistant message');
  });
});

const conversations = Array.from({ length: 9 }, (_, i) => ({
  ...encodeConversation(
    [
      { role: 'user', content: 'q'.repeat(1 + i) },
      { role: 'assistant', content: 'a'.repeat(2 + (i % 3)) },
    ],
    encoding,
  )!,
  domain: i % 2,
}));
const chatOptions = { batch: 3, seq: 32, padTokenId: 0, seed: 5 };

describe('chatData', () => {
  it('pads on the right, masks padding and counts replies only', () => {
    for (const batch of chatData(conversations, chatOptions).nextStep(2)) {
      expect(batch.seq % 16).toBe(0);
      for (let row = 0; row < batch.batch; row += 1) {
        const at = (values: ArrayLike<number>) => Array.from(values).slice(row * batch.seq, (row + 1) * batch.seq);
        const length = at(batch.mask).lastIndexOf(1) + 1;
        expect(
          at(batch.mask)
            .slice(0, length)
            .every((one) => one === 1),
        ).toBe(true);
        expect(
          at(batch.ids)
            .slice(length)
            .every((id) => id === 0),
        ).toBe(true);
        const said = at(batch.targets).filter((target) => target !== ignoredTarget);
        expect(said.at(-1)).toBe(eosTokenId);
        expect(new Set(said.slice(0, -1))).toEqual(new Set(letters('a')));
      }
    }
  });

  it('goes on from a saved state, which is JSON', () => {
    expectResumable(() => chatData(conversations, { ...chatOptions, domainWeights: { 0: 3, 1: 1 } }));
  });

  it('draws conversations without a domain as a group of their own', () => {
    const unlabelled = conversations.map((one) => ({ ...one, domain: one.domain === 0 ? -1 : 1 }));
    const drawn = chatData(unlabelled, chatOptions).nextStep(20);
    expect(new Set(drawn.flatMap(({ domains, mask }) => [...domains].filter((_, i) => mask[i])))).toEqual(
      new Set([-1, 1]),
    );
    expectResumable(() => chatData(unlabelled, chatOptions));
    expect(() => chatData(unlabelled, { ...chatOptions, domainWeights: { 1: 1 } })).toThrow(
      '5 items have no domain but weights per domain are given',
    );
  });

  it('refuses a conversation longer than a row', () => {
    expect(() => chatData(conversations, { ...chatOptions, seq: 8 })).toThrow(
      /conversation \d has \d+ tokens, a row holds 9/,
    );
  });

  it('makes an evaluation set of the replies', () => {
    const { tokens, bytes } = chatEvaluation(conversations, { batch: 4, seq: 32, padTokenId: 0 });
    expect(bytes).toBe(conversations.reduce((sum, conversation) => sum + conversation.bytes, 0));
    expect(tokens).toBe(bytes + conversations.length);
  });
});

function expectResumable(make: () => DataSource): void {
  const whole = make();
  const expected = Array.from({ length: 12 }, () => whole.nextStep(2));
  const first = make();
  for (let i = 0; i < 5; i += 1) first.nextStep(2);
  const state = JSON.parse(JSON.stringify(first.state()));
  const second = make();
  second.nextStep(3);
  second.restore(state);
  expect(Array.from({ length: 7 }, () => second.nextStep(2))).toEqual(expected.slice(5));
  expect(second.drawn()).toEqual(whole.drawn());
}
