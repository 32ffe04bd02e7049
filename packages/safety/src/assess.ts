import { type ContentFinding, detectBias, detectBoundary, detectHarm } from './content-detectors.js';
import type { ConversationMessage } from './conversation.js';
import { type CrisisFinding, detectCrisis } from './crisis.js';
import type { SafetyAction, SafetyPolicy } from './policy.js';

/** What the detectors found and what the policy says to do. It names entries of the lexica and never carries the user's text. */
export interface SafetyAssessment {
  readonly action: SafetyAction;
  /** The finding that decided the action; absent when the action is `none`. */
  readonly reason?: 'crisis' | 'harm' | 'bias' | 'boundary';
  readonly crisis: CrisisFinding;
  readonly harm: ContentFinding;
  readonly bias: ContentFinding;
  readonly boundary: ContentFinding;
  readonly policyVersion: string;
}

/**
 * Assesses a conversation before a cache or a model sees it. Crisis reads all user turns; harm, bias and boundary the last one.
 *
 * @param messages the whole conversation, oldest first. System and assistant turns are not searched.
 * @param policy from `resolvePolicy`.
 */
export function assessMessages(messages: readonly ConversationMessage[], policy: SafetyPolicy): SafetyAssessment {
  const crisis = detectCrisis(messages, policy.thresholds);
  const harm = detectHarm(messages);
  const bias = detectBias(messages);
  const boundary = detectBoundary(messages);
  const decided = decide(messages, policy, { crisis, harm, bias, boundary });
  return { ...decided, crisis, harm, bias, boundary, policyVersion: policy.version };
}

type Findings = Pick<SafetyAssessment, 'crisis' | 'harm' | 'bias' | 'boundary'>;

/** The first finding in this order whose action is not `none` decides. */
function decide(
  messages: readonly ConversationMessage[],
  policy: SafetyPolicy,
  found: Findings,
): Pick<SafetyAssessment, 'action' | 'reason'> {
  const { actions } = policy;
  const crisisAction = actionOfCrisis(messages, policy, found.crisis);
  if (crisisAction === 'resources') return { action: crisisAction, reason: 'crisis' };
  if (found.harm.signals.length > 0 && actions.harm !== 'none') return { action: actions.harm, reason: 'harm' };
  if (crisisAction !== 'none') return { action: crisisAction, reason: 'crisis' };
  if (found.boundary.signals.length > 0 && actions.boundary !== 'none')
    return { action: actions.boundary, reason: 'boundary' };
  if (found.bias.signals.length > 0 && actions.bias !== 'none') return { action: actions.bias, reason: 'bias' };
  return { action: 'none' };
}

function actionOfCrisis(
  messages: readonly ConversationMessage[],
  { actions, thresholds }: SafetyPolicy,
  crisis: CrisisFinding,
): SafetyAction {
  if (crisis.level === 'none') return 'none';
  if (crisis.level !== 'concern') return actions[crisis.level];
  const last = messages.findLast((message) => message.role === 'user');
  const lastAlone = last ? detectCrisis([last], thresholds).level : 'none';
  return lastAlone === 'none' ? actions.earlierConcern : actions.concern;
}

/** Whether an answer given under this assessment may be stored: only when nothing at all was found to act on. */
export function mayCache(assessment: SafetyAssessment): boolean {
  return assessment.action === 'none' && assessment.crisis.level === 'none';
}
