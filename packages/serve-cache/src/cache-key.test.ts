import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CacheKeyParts, cacheKey, tenantMark } from './cache-key.js';
import { canonicalBytes } from './canonical-bytes.js';

const SECRET = 'a secret for the tests only';

const parts: CacheKeyParts = {
  tenant: 'clinic',
  conversationSalt: 'salt',
  model: 'model@1',
  adapter: null,
  template: 'template',
  messages: [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'I slept badly.' },
  ],
  sampling: { temperature: 0, topP: 0.9, maxTokens: 64, stop: ['a', 'b'] },
  policyVersion: '1',
};

const arbitraryParts: fc.Arbitrary<CacheKeyParts> = fc.record({
  tenant: fc.string(),
  conversationSalt: fc.option(fc.string(), { nil: undefined }),
  model: fc.string(),
  adapter: fc.option(fc.string()),
  template: fc.string(),
  messages: fc.array(
    fc.record({ role: fc.constantFrom('system', 'user', 'assistant'), content: fc.string({ unit: 'binary' }) }),
    { maxLength: 4 },
  ),
  sampling: fc.dictionary(
    fc.string({ maxLength: 4 }).filter((key) => key !== '__proto__'),
    fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string(), fc.boolean()),
  ) as fc.Arbitrary<CacheKeyParts['sampling']>,
  policyVersion: fc.string(),
});

describe('cacheKey', () => {
  it('is the same for equal parts, whatever the order of their fields', () => {
    const reordered = Object.fromEntries(Object.entries(parts).reverse()) as unknown as CacheKeyParts;
    expect(
      cacheKey(SECRET, { ...reordered, sampling: { stop: ['a', 'b'], maxTokens: 64, topP: 0.9, temperature: 0 } }),
    ).toBe(cacheKey(SECRET, parts));
  });

  it('differs when any single field differs', () => {
    const changes: Partial<CacheKeyParts>[] = [
      { tenant: 'Clinic' },
      { conversationSalt: undefined },
      { conversationSalt: '' },
      { conversationSalt: 'salt ' },
      { model: 'model@2' },
      { adapter: '' },
      { adapter: 'lora' },
      { template: 'template2' },
      { messages: parts.messages.slice(1) },
      { messages: [...parts.messages].reverse() },
      { messages: [parts.messages[0] as never, { role: 'assistant', content: 'I slept badly.' }] },
      { messages: [parts.messages[0] as never, { role: 'user', content: 'I slept badly' }] },
      { sampling: { ...parts.sampling, temperature: 0.1 } },
      { sampling: { ...parts.sampling, seed: 0 } },
      { sampling: { ...parts.sampling, stop: ['ab'] } },
      { sampling: { ...parts.sampling, stop: ['b', 'a'] } },
      { sampling: { ...parts.sampling, maxTokens: '64' } },
      { policyVersion: '2' },
    ];
    const keys = [parts, ...changes.map((change) => ({ ...parts, ...change }))].map((each) => cacheKey(SECRET, each));
    expect(new Set(keys).size).toBe(changes.length + 1);
  });

  it('is equal exactly when the parts are equal', () => {
    fc.assert(
      fc.property(arbitraryParts, arbitraryParts, (a, b) => {
        const equal = canonicalJson(a) === canonicalJson(b);
        expect(cacheKey(SECRET, a) === cacheKey(SECRET, b)).toBe(equal);
        expect(cacheKey(SECRET, structuredClone(a))).toBe(cacheKey(SECRET, a));
      }),
      { numRuns: 300 },
    );
  });

  it('does not let text move between neighbouring fields', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), fc.integer({ min: 1, max: 5 }), (a, b, cut) => {
        const at = Math.min(cut, a.length);
        const moved = { ...parts, model: a.slice(0, a.length - at), template: a.slice(a.length - at) + b };
        expect(cacheKey(SECRET, moved)).not.toBe(cacheKey(SECRET, { ...parts, model: a, template: b }));
      }),
    );
  });

  it('keeps unpaired surrogates apart', () => {
    const withContent = (content: string) => cacheKey(SECRET, { ...parts, messages: [{ role: 'user', content }] });
    expect(withContent('\ud800')).not.toBe(withContent('\ud801'));
  });

  it('depends on the secret and shows nothing of the parts', () => {
    const key = cacheKey(SECRET, parts);
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(cacheKey(`${SECRET}!`, parts)).not.toBe(key);
    expect(tenantMark(SECRET, 'clinic')).not.toContain('clinic');
    expect(tenantMark(SECRET, 'clinic')).not.toBe(tenantMark(SECRET, 'clinic2'));
  });

  it('names the field that is no JSON value', () => {
    expect(() => cacheKey(SECRET, { ...parts, sampling: { temperature: Number.NaN } })).toThrow(
      'cacheKey: key.sampling.temperature must be a finite number, got NaN.',
    );
    expect(() => cacheKey(SECRET, { ...parts, sampling: { stop: [() => 1] as never } })).toThrow(
      'cacheKey: key.sampling.stop[0] must be a JSON value, got a function.',
    );
  });
});

describe('canonicalBytes', () => {
  it('treats an undefined property as absent', () => {
    expect(canonicalBytes({ a: 1, b: undefined })).toEqual(canonicalBytes({ a: 1 }));
    expect(canonicalBytes({ a: 1, b: null })).not.toEqual(canonicalBytes({ a: 1 }));
  });
});

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    item !== null && typeof item === 'object' && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}
