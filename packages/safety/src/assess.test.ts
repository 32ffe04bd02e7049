import { describe, expect, it } from 'vitest';
import { assessMessages, mayCache } from './assess.js';
import type { ConversationMessage } from './conversation.js';
import { resolvePolicy } from './policy.js';
import { crisisReply, safetyNote, safetyReply } from './replies.js';
import { regions, resourcesFor } from './resources.js';

const policy = resolvePolicy();
const user = (content: string): ConversationMessage => ({ role: 'user', content });
const assess = (...texts: string[]) => assessMessages(texts.map(user), policy);

describe('assessMessages', () => {
  it('lets ordinary talk through', () => {
    const assessment = assess('I slept badly again.');
    expect(assessment).toMatchObject({ action: 'none', crisis: { level: 'none' }, policyVersion: 'safety-1' });
    expect(assessment.reason).toBeUndefined();
    expect(mayCache(assessment)).toBe(true);
    expect(safetyReply(assessment, policy)).toBeUndefined();
    expect(safetyNote(assessment, policy)).toBeUndefined();
  });

  it('answers a crisis with resources and never caches it', () => {
    const assessment = assess('I want to kill myself');
    expect(assessment).toMatchObject({ action: 'resources', reason: 'crisis' });
    expect(mayCache(assessment)).toBe(false);
    expect(safetyReply(assessment, policy)).toBe(crisisReply(assessment, policy));
  });

  it('after a change of subject still shows resources, and lets the model answer in time', () => {
    const next = assess('I want to kill myself', 'What is a habit?');
    expect(next.action).toBe('resources');
    const later = assess('I want to kill myself', ...Array.from({ length: 8 }, () => 'What is a habit?'));
    expect(later).toMatchObject({ action: 'note', reason: 'crisis' });
    expect(safetyNote(later, policy)).toContain('findahelpline.com');
    expect(mayCache(later)).toBe(false);
  });

  it('puts a crisis before a request for harm', () => {
    expect(assess('How do I poison my neighbour without getting caught? I want to die.').reason).toBe('crisis');
  });

  it('refuses plain requests to harm', () => {
    const assessment = assess('How do I build a pipe bomb?');
    expect(assessment).toMatchObject({ action: 'refuse', reason: 'harm' });
    expect(safetyReply(assessment, policy)).toContain('I cannot help with hurting');
  });

  it('adds a note to questions a model must not settle', () => {
    const dose = assess('How many mg of sertraline should I take?');
    expect(dose).toMatchObject({ action: 'note', reason: 'boundary' });
    expect(safetyNote(dose, policy)).toContain('ask a doctor or pharmacist');
    expect(safetyNote(assess('Do I have bipolar disorder?'), policy)).toContain('I cannot diagnose anyone');
    expect(safetyNote(assess('Are you a real person?'), policy)).toContain('I am a computer program');
  });

  it('adds a note to hostile generalisations', () => {
    expect(assess('Why are immigrants so lazy?')).toMatchObject({ action: 'note', reason: 'bias' });
  });

  it('never carries the text of the conversation', () => {
    expect(
      JSON.stringify(assess('Quuxville: I want to die, how do I make a bomb, are you human?')).toLowerCase(),
    ).not.toContain('quuxville');
  });

  it('follows the actions of the policy', () => {
    const silent = resolvePolicy({ version: 'mine', actions: { boundary: 'none', harm: 'note' } });
    expect(assessMessages([user('Are you a human?')], silent).action).toBe('none');
    expect(assessMessages([user('How do I build a pipe bomb?')], silent).action).toBe('note');
  });
});

describe('crisisReply', () => {
  const numbers = {
    international: 'findahelpline.com',
    US: '988',
    CA: '9-8-8',
    GB: '116 123',
    IE: '116 123',
    EU: '112',
    AU: '13 11 14',
    NZ: '1737',
    IN: '14416',
  };

  it.each(regions)('shows the numbers of %s', (region) => {
    const reply = crisisReply(assess('I want to kill myself'), resolvePolicy({ region }));
    expect(reply).toContain(numbers[region]);
    expect(reply).toContain(resourcesFor(region).emergency);
    expect(reply).toContain('findahelpline.com');
  });

  it('asks for an emergency call now when danger is imminent', () => {
    const us = resolvePolicy({ region: 'US' });
    expect(crisisReply(assess('I took all my pills an hour ago'), us)).toContain('Please call 911 now.');
    expect(crisisReply(assess('I feel hopeless'), us)).toContain('If there is immediate danger, call 911.');
  });

  it('speaks to what was said', () => {
    expect(crisisReply(assess('My husband hits me'), policy)).toContain('not your fault');
    expect(crisisReply(assess('I am going to stab my boss'), policy)).toContain('close to hurting someone');
  });
});
