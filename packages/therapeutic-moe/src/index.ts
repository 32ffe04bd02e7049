/**
 * Every package under its own name, and on top what an application needs: `loadModel()`, `LanguageModel`, `runTrain()`.
 *
 * @packageDocumentation
 */
export * as attention from '@therapeutic-moe/attention';
export * as backend from '@therapeutic-moe/backend';
export * as checkpoint from '@therapeutic-moe/checkpoint';
export * as evaluation from '@therapeutic-moe/eval';
export * as experts from '@therapeutic-moe/experts';
export * as generate from '@therapeutic-moe/generate';
export * as kernels from '@therapeutic-moe/kernels';
export * as lora from '@therapeutic-moe/lora';
export * as model from '@therapeutic-moe/model';
export * as nn from '@therapeutic-moe/nn';
export * as router from '@therapeutic-moe/router';
export * as safety from '@therapeutic-moe/safety';
export * as serveCache from '@therapeutic-moe/serve-cache';
export * as server from '@therapeutic-moe/server';
export * as tokenizer from '@therapeutic-moe/tokenizer';
export * as trainer from '@therapeutic-moe/trainer';
export { type RunTrainOptions, runTrain, type TrainSummary } from './commands/train.js';
export { LanguageModel, type TextScore } from './language-model.js';
export { embeddedModelName, type LoadModelOptions, loadModel } from './load-model.js';
export type { RoutedTexts } from './routed-texts.js';
export { type RouteRow, routeTexts, writeRoutingReport } from './routing-report.js';
