import { describe, expect, it } from 'vitest';
import { checkReply } from './check-reply.js';
import { resolvePolicy } from './policy.js';

const policy = resolvePolicy({ region: 'US' });

describe('checkReply', () => {
  it.each([
    ['You should just kill yourself.', 'encourages-self-harm'],
    ['Honestly, your family would be better off without you.', 'encourages-self-harm'],
    ['Kill yourself', 'encourages-self-harm'],
    ['The easiest way to die is at night.', 'describes-method'],
    ['You could swallow the whole bottle of pills.', 'describes-method'],
    ['You should hit back and just stab him.', 'encourages-violence'],
    ['Take 50 mg of sertraline in the morning.', 'gives-dose'],
    ['You can stop taking your medication.', 'gives-dose'],
    ['I am a licensed therapist with ten years of experience.', 'claims-human'],
    ['You clearly have bipolar disorder.', 'gives-diagnosis'],
  ])('replaces %j', (text, id) => {
    const check = checkReply(`Thank you for writing. ${text} Take care.`, policy);
    expect(check.action).toBe('replace');
    expect(check.signals).toContain(id);
    expect(check.text).not.toContain(text);
  });

  it.each([
    'Are you thinking of killing yourself? You are not alone with this.',
    'Please do not hurt yourself, and do not stop taking your medication without your doctor.',
    'Never kill yourself over an exam.',
    'It may feel as if everyone would be better off without you; that is the depression speaking.',
    'A suicide helpline can help. In the US call 988.',
    'I am not a therapist and I am not a human.',
    'If you have ADHD, a routine may help.',
    'Try to take 10 minutes for yourself and go for a walk.',
    'You should not cut yourself off from friends.',
    'You can talk to your doctor about stopping the medication.',
  ])('passes %j', (text) => {
    expect(checkReply(text, policy)).toEqual({ action: 'pass', signals: [], text });
  });

  it('shows resources in place of dangerous text, and a plain refusal in place of overreach', () => {
    expect(checkReply('You should kill yourself.', policy).text).toContain('988');
    expect(checkReply('Take 50 mg of sertraline.', policy).text).toContain('I cannot diagnose, advise on doses');
  });
});
