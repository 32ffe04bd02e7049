import {
  assessMessages,
  checkReply,
  mayCache,
  resourcesFor,
  type SafetyPolicy,
  safetyNote,
  safetyReply,
} from '@therapeutic-moe/safety';
import type { ChatMessage } from './chat-model.js';
import type { ReplyReport } from './reply-report.js';

/** What the policy says about a conversation before anything else happens. */
export interface GateDecision {
  report: ReplyReport['safety'];
  /** The whole reply, in place of the model's. */
  answer?: string;
  /** Goes in front of the model's reply. */
  note?: string;
  /** Whether the cache may be asked and filled. */
  cacheable: boolean;
}

/** Assesses a conversation under a policy. Nothing of what was written is kept in the decision. */
export function decideBefore(messages: readonly ChatMessage[], policy: SafetyPolicy): GateDecision {
  const assessment = assessMessages(messages, policy);
  const { action, reason, crisis, policyVersion } = assessment;
  const report: ReplyReport['safety'] = { action, reason, crisis: { ...crisis }, policyVersion };
  return {
    report: crisis.level !== 'none' && action !== 'none' ? { ...report, ...reportedResources(policy) } : report,
    answer: safetyReply(assessment, policy),
    note: safetyNote(assessment, policy),
    cacheable: mayCache(assessment),
  };
}

/**
 * Checks a reply as far as it has been written.
 *
 * @returns undefined when it may be shown; else what stands in place of its newest part, and what to report.
 */
export function withholdReply(
  text: string,
  policy: SafetyPolicy,
): { instead: string; report: Partial<ReplyReport['safety']> } | undefined {
  const check = checkReply(text, policy);
  if (check.action === 'pass') return undefined;
  return {
    instead: check.text,
    report: { action: 'replaced', replyRules: check.signals, ...reportedResources(policy) },
  };
}

/** The region's resources as clients receive them; a number to call is also given alone, so that it can be dialled. */
function reportedResources({ region }: SafetyPolicy): Pick<ReplyReport['safety'], 'emergency' | 'resources'> {
  const { emergency, resources } = resourcesFor(region);
  return {
    emergency,
    resources: resources.map(({ name, contact, url }) => {
      const phone = /\bcall(?: or text)? (\d[\d -]*\d)/.exec(contact)?.[1];
      return { name, contact, url, ...(phone === undefined ? {} : { phone }) };
    }),
  };
}
