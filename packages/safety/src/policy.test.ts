import { describe, expect, it } from 'vitest';
import { resolvePolicy } from './policy.js';

describe('resolvePolicy', () => {
  it('fills in defaults and freezes all of it', () => {
    const policy = resolvePolicy({ region: 'US' });
    expect(policy).toMatchObject({ version: 'safety-1', region: 'US', thresholds: { concern: 0.35, high: 0.65 } });
    expect([policy, policy.thresholds, policy.actions].every(Object.isFrozen)).toBe(true);
  });

  it('resolves its own result to an equal policy', () => {
    const policy = resolvePolicy({ version: 'mine', thresholds: { concern: 0.2 }, actions: { bias: 'none' } });
    expect(resolvePolicy(policy)).toEqual(policy);
  });

  it.each([
    [{ region: 'XX' }, 'safety policy: region must be one of international, US, CA, GB, IE, EU, AU, NZ, IN, got "XX".'],
    [{ treshold: 1 }, 'safety policy: unknown key "treshold"; known keys are version, region, thresholds, actions.'],
    [
      { version: 'a', thresholds: { concern: 0.9 } },
      'safety policy: thresholds must satisfy 0 < concern <= high <= 1, got concern 0.9 and high 0.65.',
    ],
    [{ version: 'a', thresholds: { concern: Number.NaN } }, 'got concern null'],
    [{ version: 'a', thresholds: { low: 0.1 } }, 'safety policy: thresholds: unknown key "low"'],
    [
      { version: 'a', actions: { harm: 'ban' } },
      'safety policy: actions.harm must be one of none, note, refuse, resources, got "ban".',
    ],
    [
      { version: 'a', actions: { high: 'none' } },
      'safety policy: actions.high is "none"; a person in crisis must be shown resources',
    ],
    [
      { thresholds: { concern: 0.2 } },
      'safety policy: thresholds or actions differ from those of version "safety-1"; give the policy a version of its own.',
    ],
    [{ version: ' ' }, 'safety policy: version must be a non-empty string, got " ".'],
  ])('refuses %j', (options, message) => {
    expect(() => resolvePolicy(options as never)).toThrow(message);
  });
});
