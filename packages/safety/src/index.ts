export { assessMessages, mayCache, type SafetyAssessment } from './assess.js';
export { checkReply, type ReplyCheck } from './check-reply.js';
export { type ContentFinding, detectBias, detectBoundary, detectHarm } from './content-detectors.js';
export type { ConversationMessage } from './conversation.js';
export {
  type CrisisFinding,
  type CrisisLevel,
  type CrisisSignal,
  type CrisisThresholds,
  detectCrisis,
} from './crisis.js';
export type { CrisisCategory } from './lexicon/crisis-pattern.js';
export {
  resolvePolicy,
  type SafetyAction,
  type SafetyActions,
  type SafetyPolicy,
  type SafetyPolicyOptions,
} from './policy.js';
export { crisisReply, safetyNote, safetyReply } from './replies.js';
export { type CrisisResource, type Region, type RegionalResources, regions, resourcesFor } from './resources.js';
export type { CrisisSentence, CrisisSentenceKind } from './sentences/crisis-sentence.js';
export { crisisSentences } from './sentences/crisis-sentences.js';
