import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { writeFileAtomic } from '@therapeutic-moe/checkpoint';
import { attachLoraFromBase, type LoraAdapter, loraPlusFactor, saveAdapter } from '@therapeutic-moe/lora';
import {
  CausalLm,
  countParameters,
  loadModelDirectory,
  mergeLora,
  type PresetName,
  presetGaps,
  saveModelDirectory,
  trainable,
} from '@therapeutic-moe/model';
import { Tokenizer } from '@therapeutic-moe/tokenizer';
import {
  cosineSchedule,
  type DomainSize,
  duration,
  type EvaluationRecord,
  findResumePoint,
  hashStartFiles,
  type Logger,
  loadTrainData,
  readJsonLines,
  renderTrainReport,
  restoreTensors,
  resumeSettings,
  type StepRecord,
  stopOnSignals,
  type TrainConfig,
  type TrainResult,
  train,
  trainConfigWarnings,
} from '@therapeutic-moe/trainer';
import { copyTokenizer } from '../tokenizer-files.js';
import { planTrain } from './plan-train.js';

/** Options of `runTrain`. */
export interface RunTrainOptions {
  /** Go on from the newest checkpoint in the config's output folder. */
  readonly resume?: boolean;
  readonly logger: Logger;
}

/** What a run did, as written to `summary.json`. */
export interface TrainSummary {
  readonly result: TrainResult;
  readonly backend: BackendName;
  readonly parameters: { readonly total: number; readonly trainable: number };
  readonly data: Readonly<Record<string, DomainSize>>;
  /** Where the trained model was saved, tokenizer included; not where its weights are frozen in fewer bytes. */
  readonly model?: string;
  /** Where the adapter was saved, in a LoRA run. */
  readonly adapter?: string;
}

/**
 * Trains what a config describes and saves it: `output/model` (with `output/adapter` beside it in a LoRA run, whose model
 * has the adapter merged in), `output/train.jsonl`, `output/evaluations.jsonl`, `output/checkpoints`, `output/summary.json`, `output/report.html`.
 * The first SIGINT or SIGTERM saves a checkpoint and stops.
 *
 * @throws in the words of the part that refused: config, data, model or checkpoint. What the config, the model's own config
 *   and the output folder can tell is refused before a backend starts or data is read.
 */
export async function runTrain(
  config: TrainConfig,
  { resume = false, logger }: RunTrainOptions,
): Promise<TrainSummary> {
  for (const warning of trainConfigWarnings(config)) logger.warn(warning);
  const gap = presetGaps[config.model.preset as PresetName];
  if (gap) logger.warn(gap);
  const tokenizer = await Tokenizer.fromDirectory(config.tokenizer);
  const modelConfig = await planTrain(config, tokenizer);
  await findResumePoint(config.output, resume);
  const started = await hashStartFiles(config);
  const { name: backend } = await useBackend(config.backend, { logger, precision: config.precision });
  const data = await loadTrainData(config, tokenizer);
  for (const [domain, { rows, tokens }] of Object.entries(data.sizes))
    logger.info(`data: ${domain} ${rows} rows, ${tokens} tokens`);
  if (data.skipped + data.shortened > 0) {
    logger.warn(
      `data: ${data.shortened} conversations lost their oldest messages, ${data.skipped} were too long and are left out`,
    );
  }

  const { from, weights } = config.model;
  const model =
    from === undefined ? CausalLm.create(modelConfig, config.seed) : await loadModelDirectory(from, { weights });
  const stop = stopOnSignals();
  try {
    const adapter = config.lora && (await attachLoraFromBase(model, config.lora, config.seed));
    const target = trainable(model, config.auxiliary, adapter);
    const parameters = describeParameters(model, target.parameters());
    logger.info(`model: ${parameters.total} parameters, ${parameters.trainable} of them trained`);
    const { training } = config;
    const { loraplusLrRatio: ratio } = training;
    const result = await train({
      trainable: target,
      data: data.source,
      steps: training.steps,
      schedule: cosineSchedule({ ...training, finalFraction: training.finalLearningRateFraction }),
      seed: config.seed,
      output: config.output,
      accumulationSteps: training.accumulationSteps,
      maxGradientNorm: training.maxGradientNorm,
      adamW: {
        beta1: training.beta1,
        beta2: training.beta2,
        epsilon: training.epsilon,
        weightDecay: training.weightDecay,
        ...(ratio !== undefined && { rateFactor: (path: string) => loraPlusFactor(path, ratio) }),
      },
      evaluation:
        training.evaluateEverySteps === undefined
          ? undefined
          : { sets: data.evaluation, everySteps: training.evaluateEverySteps, patience: training.patience },
      checkpoint: {
        everySteps: training.checkpointEverySteps,
        everyMinutes: training.checkpointEveryMinutes,
        keep: training.keepCheckpoints,
      },
      maxMinutes: training.maxMinutes,
      saveMarginSeconds: training.saveMarginSeconds,
      logEverySteps: training.logEverySteps,
      resume,
      settings: { ...resumeSettings(config), ...started, 'data.sha256': data.sha256.train, backend },
      signal: stop.signal,
      logger,
    });
    logger.info(`train: ${result.reason} at step ${result.step}; checkpoint ${result.checkpoint}`);
    const wantsBest = (training.save ?? (training.evaluateEverySteps === undefined ? 'last' : 'best')) === 'best';
    if (wantsBest && result.best) {
      const buffers = target.buffers();
      await restoreTensors(result.best.path, {
        parameters: target.parameters(),
        ...(buffers.size > 0 && { buffers }),
      });
      logger.info(
        `train: saving the weights of step ${result.best.step}, ${result.best.bitsPerByte.toFixed(4)} bits per byte`,
      );
    }
    const saved = await saveResult(model, adapter, config);
    const summary: TrainSummary = { result, backend, parameters, data: data.sizes, ...saved };
    await writeFileAtomic(join(config.output, 'summary.json'), `${JSON.stringify({ config, ...summary }, null, 2)}\n`);
    await writeFileAtomic(
      join(config.output, 'report.html'),
      await renderReport(config, summary, model.config.mixture?.domains),
    );
    return summary;
  } finally {
    stop.dispose();
    model.dispose();
  }
}

function describeParameters(
  model: CausalLm,
  trained: ReadonlyMap<string, { size: number }>,
): TrainSummary['parameters'] {
  const size = [...trained.values()].reduce((sum, variable) => sum + variable.size, 0);
  return { total: countParameters(model.config).total, trainable: size };
}

async function saveResult(model: CausalLm, adapter: LoraAdapter | undefined, config: TrainConfig) {
  const folder = join(config.output, 'model');
  const adapterFolder = join(config.output, 'adapter');
  if (adapter) {
    await saveAdapter(adapter, adapterFolder, config.model.from);
    if (model.frozenWeights.size > 0) return { adapter: adapterFolder };
    mergeLora(model, adapter);
  }
  await mkdir(folder, { recursive: true });
  await saveModelDirectory(model, folder);
  await copyTokenizer(config.tokenizer, folder);
  return { model: folder, ...(adapter ? { adapter: adapterFolder } : {}) };
}

async function renderReport(
  config: TrainConfig,
  { result, backend, parameters }: TrainSummary,
  expertNames?: readonly string[],
): Promise<string> {
  return renderTrainReport({
    title: `Training run ${config.output}`,
    facts: {
      ended: `${result.reason} at step ${result.step} of ${config.training.steps}`,
      'training time': duration(result.elapsedSeconds),
      'counted tokens': result.tokens.toLocaleString('en'),
      parameters: `${parameters.total.toLocaleString('en')}, ${parameters.trainable.toLocaleString('en')} trained`,
      backend,
      seed: String(config.seed),
    },
    steps: await readJsonLines<StepRecord>(join(config.output, 'train.jsonl')),
    evaluations: await readJsonLines<EvaluationRecord>(join(config.output, 'evaluations.jsonl')),
    expertNames,
  });
}
