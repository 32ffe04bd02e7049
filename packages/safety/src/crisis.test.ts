import { describe, expect, it } from 'vitest';
import type { ConversationMessage } from './conversation.js';
import { detectCrisis } from './crisis.js';
import { crisisLexicon } from './crisis-lexicon.js';
import { crisisSentences } from './sentences/crisis-sentences.js';

const THRESHOLDS = { concern: 0.35, high: 0.65 };
const user = (content: string): ConversationMessage => ({ role: 'user', content });
const assistant = (content: string): ConversationMessage => ({ role: 'assistant', content });
const read = (...messages: (string | ConversationMessage)[]) =>
  detectCrisis(
    messages.map((message) => (typeof message === 'string' ? user(message) : message)),
    THRESHOLDS,
  );

describe('detectCrisis on one turn', () => {
  it.each([
    'I want to kill myself',
    'I WANT TO DIE!!!',
    'i don’t want to be alive anymore',
    'I dont wanna live',
    'Im gonna end my life',
    'Everyone would be better off without me.',
    'I have been cutting again',
  ])('reads %j as high or more', (text) => {
    expect(['high', 'imminent']).toContain(read(text).level);
  });

  it.each(['I feel completely hopeless', 'I just cannot do this any more', 'I feel like a burden to my family'])(
    'reads %j as at least a concern',
    (text) => {
      expect(read(text).level).not.toBe('none');
    },
  );

  it.each([
    'I took all my pills an hour ago',
    'I am going to kill myself tonight',
    'I am on the bridge right now and I am going to jump',
    'He is at the door with a knife right now, he said he will kill us',
  ])('reads %j as imminent', (text) => {
    expect(read(text).level).toBe('imminent');
  });

  it('has nothing to say about an empty conversation', () => {
    expect(read()).toEqual({ level: 'none', score: 0, signals: [] });
    expect(read('', '   ', '🙂 123')).toEqual({ level: 'none', score: 0, signals: [] });
  });

  it('finds the risk after an idiom in the same sentence', () => {
    expect(read('This job is killing me').level).toBe('none');
    expect(read('This job is killing me and I want to end it all').level).toBe('high');
    expect(read('I was dying of laughter but then I took a razor and cut my arms').level).toBe('high');
  });
});

describe('detectCrisis and hidden words', () => {
  it.each([
    'I want to k i l l myself',
    'i want to k.i.l.l m.y.s.e.l.f',
    'i want to k1ll mys3lf',
    'I want to k!ll myself',
    'thinking about su*cide',
    'thinking about s**cide every day',
    'I want to dieee',
    'I want to d-i-e',
    'I want to k\u200bill my\u00adself',
    'Ι wаnt tо kіll mуsеlf',
    'ｉ ｗａｎｔ ｔｏ ｄｉｅ',
    'i wanna kms',
    'i want to unalive myself',
    'im feeling sucidal',
    'I. want. to. die.',
  ])('reads %j', (text) => {
    expect(['high', 'imminent']).toContain(read(text).level);
  });

  it('does not turn prices, doses and times into words', () => {
    expect(read('I paid 5.50 at 4am for 2 coffees, call 988 or 24/7 support, 3mg, b2b, a d t').level).toBe('none');
  });
});

describe('detectCrisis and context', () => {
  it.each([
    'I would never hurt myself',
    'I am not suicidal',
    "I don't want to kill myself",
    'I have never thought about suicide and I never self-harmed',
    'No, I have no plan to end my life',
  ])('takes the denial %j at its word', (text) => {
    expect(read(text).level).toBe('none');
  });

  it.each([
    "I can't stop thinking about killing myself",
    'I am not sure I will not hurt myself',
    'There is no reason not to kill myself',
    "I don't want to kill myself but I wish I would not wake up",
    "I'm not suicidal, I just want to die",
    'I have not told anyone I want to die',
    'Why should I not kill myself',
  ])('is not misled by the negation in %j', (text) => {
    expect(['high', 'imminent']).toContain(read(text).level);
  });

  it.each([
    'In the novel the main character kills himself',
    'I am writing an essay about suicide prevention',
    'The documentary about the singer covered her suicide attempt',
  ])('reads %j as a topic', (text) => {
    expect(read(text).level).toBe('none');
  });

  it('keeps the first person above the topic', () => {
    expect(read('That film made me think about killing myself').level).toBe('high');
  });

  it('offers help when somebody else is at risk', () => {
    const finding = read('My friend says she wants to kill herself');
    expect(finding.level).not.toBe('none');
    expect(finding.score).toBeLessThan(read('I want to kill myself').score);
  });

  it('weighs a past that is over less than the present', () => {
    expect(read('I used to be suicidal years ago, I am well now').level).toBe('none');
    expect(read('I tried to kill myself last year').level).toBe('high');
  });
});

describe('detectCrisis over a conversation', () => {
  it('remembers risk stated earlier, at less weight', () => {
    const fresh = read('I want to kill myself');
    const later = read('I want to kill myself', assistant('I am here.'), 'What is the weather like?');
    const muchLater = read(
      'I want to kill myself',
      ...Array.from({ length: 30 }, (_, index) => `Question ${index} about sleep`),
    );
    expect(later.level).not.toBe('none');
    expect(later.score).toBeLessThan(fresh.score);
    expect(muchLater.level).not.toBe('none');
    expect(muchLater.score).toBeLessThanOrEqual(later.score);
  });

  it('adds up different signs over turns, and not the same one twice', () => {
    expect(read('I feel hopeless', 'I feel hopeless').score).toBe(read('I feel hopeless').score);
    expect(read('I feel hopeless', 'I gave all my things away').score).toBeGreaterThan(
      read('I gave all my things away').score,
    );
  });

  it('does not search what the assistant or the system said', () => {
    expect(
      read(
        assistant('Are you thinking of killing yourself or ending your life? I want to die.'),
        { role: 'system', content: 'Handle suicidal users with care.' },
        'No, I only slept badly.',
      ).level,
    ).toBe('none');
  });
});

describe('the finding', () => {
  it('names lexicon entries, strongest first, and never carries the text', () => {
    const finding = read('Zanzibarquux: I want to kill myself, I feel so hopeless');
    const known = new Set(crisisLexicon.map(({ id }) => id));
    expect(finding.signals.every(({ id }) => known.has(id))).toBe(true);
    expect(finding.signals.map(({ weight }) => weight)).toEqual(
      finding.signals.map(({ weight }) => weight).sort((a, b) => b - a),
    );
    expect(JSON.stringify(finding).toLowerCase()).not.toContain('zanzibarquux');
    expect(finding.score).toBeCloseTo(1 - finding.signals.reduce((rest, { weight }) => rest * (1 - weight), 1), 3);
  });

  it('reads a long text in bounded time', () => {
    const words = Array.from(
      { length: 20_000 },
      (_, index) => ['i', 'not', 'want', 'to', 'be', 'my', 'the', 'think', 'no', 'never', 'can'][(index * 7) % 11],
    ).join(' ');
    const start = performance.now();
    read(`${words}. ${'k '.repeat(5000)} ${'a'.repeat(20_000)} ${'!1'.repeat(5000)} I want to kill myself`);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('the lexicon', () => {
  it('has unique ids and weights between 0 and 1', () => {
    expect(new Set(crisisLexicon.map(({ id }) => id)).size).toBe(crisisLexicon.length);
    expect(crisisLexicon.every(({ weight }) => weight > 0 && weight < 1)).toBe(true);
  });
});

describe('our own sentences', () => {
  const rates = (batch: string) => {
    const rows = crisisSentences.sentences.filter((sentence) => sentence.id.startsWith(batch));
    const of = (label: string) => rows.filter((row) => row.label === label);
    const flagged = (label: string) => of(label).filter((row) => read(row.text).level !== 'none').length;
    return { caught: flagged('crisis'), crisis: of('crisis').length, alarms: flagged('safe'), safe: of('safe').length };
  };

  it('are told apart almost always on the dev split', () => {
    const { caught, crisis, alarms, safe } = rates('dev');
    expect(crisis).toBeGreaterThan(400);
    expect(safe).toBeGreaterThan(380);
    expect(caught / crisis).toBeGreaterThanOrEqual(0.97);
    expect(alarms / safe).toBeLessThanOrEqual(0.01);
  });

  it('are told apart on the held-out split as the README reports', () => {
    expect(rates('held-out/')).toEqual({ caught: 47, crisis: 48, alarms: 0, safe: 64 });
    expect(rates('held-out-new/')).toEqual({ caught: 24, crisis: 40, alarms: 2, safe: 40 });
  });

  it('have unique ids and texts, so no held-out sentence is in dev', () => {
    const { sentences } = crisisSentences;
    expect(new Set(sentences.map(({ id }) => id)).size).toBe(sentences.length);
    expect(new Set(sentences.map(({ text }) => text.toLowerCase().replace(/[^a-z]/g, ''))).size).toBe(sentences.length);
  });
});
