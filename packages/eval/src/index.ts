export type { ChatModel, ChatReply, EvaluationMessage } from './chat-model.js';
export { type Dataset, dataset, type Sample } from './dataset.js';
export { type EvaluateOptions, type EvaluationProgress, evaluate } from './evaluate.js';
export { bootstrapInterval, CONFIDENCE_LEVEL, type Interval, wilsonInterval } from './interval.js';
export { readJsonlDataset } from './jsonl-dataset.js';
export { byGroup, type Metric, mean, proportion, ratioOfSums, type Scored, type ValueOptions } from './metric.js';
export { type OpenAiModelOptions, openAiModel } from './open-ai-model.js';
export { renderReport } from './report/render-report.js';
export { renderRoutingReport } from './report/render-routing-report.js';
export {
  type ConfusionResult,
  type EvaluationResults,
  type Exchange,
  type MetricResult,
  type Plot,
  parseResults,
  RESULTS_SCHEMA_VERSION,
  type TableResult,
  type TaskResult,
  type ValueResult,
} from './results.js';
export type { LayerRouting, RoutedPassage, RoutingReport, Visit } from './routing-report.js';
export { type RunOptions, type Scorer, type Solver, type Task, type TaskOptions, task } from './task.js';
export { type ChatScore, type ChatTaskOptions, chatTask } from './tasks/chat.js';
export { type Detector, detectionTask } from './tasks/detection.js';
export { type ExpertShares, type ExpertUsage, expertUsageTask } from './tasks/expert-usage.js';
export { type LanguageModel, type LanguageModelScore, languageModelTask } from './tasks/language-model.js';
export { writeResults } from './write-results.js';
