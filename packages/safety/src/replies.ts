import type { SafetyAssessment } from './assess.js';
import type { SafetyPolicy } from './policy.js';
import { type Region, resourcesFor } from './resources.js';

const about = (assessment: SafetyAssessment, ...categories: string[]): boolean => {
  const strongest = assessment.crisis.signals[0];
  return strongest !== undefined && categories.includes(strongest.category);
};

function openingOf(assessment: SafetyAssessment): string {
  if (about(assessment, 'harm-to-others')) {
    return 'It sounds as if you are close to hurting someone. Please put distance between yourself and that person, and anything that could be used as a weapon, and talk to somebody now.';
  }
  if (about(assessment, 'abuse', 'danger')) {
    return 'What you describe sounds dangerous, and it is not your fault. Your safety comes first. If you can, move to a place where other people are.';
  }
  if (assessment.crisis.level === 'concern') {
    return 'Thank you for telling me. It sounds as if things are very heavy right now. If you or someone close to you has thoughts of not wanting to live, you do not have to carry them alone.';
  }
  return 'I am really glad you said this. It sounds as if you, or someone close to you, may be in serious pain, and that deserves a person who can listen right now, not a computer program.';
}

function resourceLines(region: Region): string {
  return resourcesFor(region)
    .resources.map(({ name, contact }) => `- ${name}: ${contact}`)
    .join('\n');
}

/**
 * The whole reply to a crisis, with the resources of the policy's region. It does not repeat what the person wrote.
 */
export function crisisReply(assessment: SafetyAssessment, policy: SafetyPolicy): string {
  const { emergency } = resourcesFor(policy.region);
  const urgent =
    assessment.crisis.level === 'imminent'
      ? `Please call ${emergency} now.`
      : `If there is immediate danger, call ${emergency}.`;
  return [
    openingOf(assessment),
    urgent,
    `You can talk to someone trained to help:\n${resourceLines(policy.region)}`,
    'If you can, move away from anything you could use to hurt yourself or others, and ask someone you trust to stay with you. I am a computer program and cannot give the help a person can.',
  ].join('\n\n');
}

const REFUSAL =
  'I cannot help with hurting, threatening or controlling other people. If you are angry or afraid of what you might do, talking to somebody you trust or a counsellor can help before anything happens.';

/** The whole reply when the model must not be called (`refuse`, `resources`); undefined when it may answer. */
export function safetyReply(assessment: SafetyAssessment, policy: SafetyPolicy): string | undefined {
  if (assessment.action === 'resources') return crisisReply(assessment, policy);
  return assessment.action === 'refuse' ? REFUSAL : undefined;
}

/** The text that goes in front of the model's answer when the action is `note`; otherwise undefined. */
export function safetyNote(assessment: SafetyAssessment, policy: SafetyPolicy): string | undefined {
  if (assessment.action !== 'note') return undefined;
  if (assessment.reason === 'crisis') {
    return `Because of what you said before: if it gets too much, you can talk to someone trained to help, or call ${resourcesFor(policy.region).emergency} in an emergency.\n${resourceLines(policy.region)}`;
  }
  if (assessment.reason === 'boundary') return boundaryNote(assessment);
  return 'People in any group differ more from one another than groups do; I will answer without generalising about them.';
}

function boundaryNote(assessment: SafetyAssessment): string {
  const ids = new Set(assessment.boundary.signals.map((signal) => signal.id));
  const sentences = ['I am a computer program, not a person or a therapist.'];
  if (ids.has('diagnosis')) sentences.push('I cannot diagnose anyone; a doctor or psychologist can.');
  if (ids.has('medication'))
    sentences.push(
      'I cannot advise on medication or doses; please ask a doctor or pharmacist before changing anything.',
    );
  return sentences.join(' ');
}
