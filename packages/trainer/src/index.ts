export { AdamW, type AdamWSettings } from './adam-w.js';
export {
  type ChatDataOptions,
  type Conversation,
  type ConversationEncoding,
  chatData,
  chatEvaluation,
  encodeConversation,
  padConversations,
  type TrainMessage,
} from './chat-data.js';
export { type DataSource, type DataState, fixedBatches } from './data-source.js';
export { combineResults, type EvaluationResult, evaluate } from './evaluate.js';
export { hashStartFiles } from './file-hashes.js';
export { type DomainSize, loadTrainData, type TrainData, type TrainTokenizer } from './load-train-data.js';
export {
  type EvaluationSet,
  type PackedTextOptions,
  packedEvaluation,
  packedText,
  type TextDocument,
} from './packed-text.js';
export { duration, type Logger } from './progress.js';
export { type CosineOptions, cosineSchedule, type Schedule } from './schedule.js';
export { computeStepGradients, type StepGradients, type StepMetrics } from './step-gradients.js';
export { stopOnSignals } from './stop-on-signals.js';
export { clipScale, findResumePoint, type TrainOptions, type TrainResult, train } from './train.js';
export {
  type BestEvaluation,
  latestTrainCheckpoint,
  listTrainCheckpoints,
  readTrainState,
  restoreTensors,
  saveTrainCheckpoint,
  type TensorGroups,
  type TrainState,
} from './train-checkpoint.js';
export { resolveTrainConfig, resumeSettings, type TrainConfig, trainConfigWarnings } from './train-config.js';
export { readJsonLines, type StepRecord } from './train-log.js';
export { type EvaluationRecord, renderTrainReport, type TrainReport } from './train-report.js';
export { readTrainRows, type TrainRow, type TrainRows } from './train-rows.js';
export { countTargets, ignoredTarget, type LossTerms, noDomain, type Trainable, type TrainBatch } from './trainable.js';
