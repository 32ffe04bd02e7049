import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { latestTrainCheckpoint, readTrainState } from '@therapeutic-moe/trainer';

/** Where the factors of an adapter lie. */
export type FoundAdapter =
  /** A PEFT folder. */
  | { readonly kind: 'peft'; readonly folder: string }
  /** A checkpoint of a LoRA run. */
  | {
      readonly kind: 'checkpoint';
      readonly folder: string;
      /** Settings of the run's adapter, not checked. */
      readonly lora: object;
      /** Folder of the model that it adapts. */
      readonly base: string | undefined;
    };

/**
 * Looks for an adapter in a folder: a PEFT folder, the output of a training run (its adapter, or while it has none its
 * newest checkpoint), or one checkpoint.
 *
 * @throws when there is none, saying what was looked for.
 */
export async function findAdapter(directory: string): Promise<FoundAdapter> {
  for (const folder of [directory, join(directory, 'adapter')])
    if (await exists(join(folder, 'adapter_config.json'))) return { kind: 'peft', folder };
  const folder = (await exists(join(directory, 'state.json')))
    ? directory
    : await latestTrainCheckpoint(join(directory, 'checkpoints'));
  if (!folder) {
    throw new Error(
      `${directory} holds no adapter; expected adapter_config.json (PEFT), the output folder of a LoRA run, or one of its checkpoints.`,
    );
  }
  const { settings } = await readTrainState(folder);
  if (!settings.lora)
    throw new Error(`${folder} is a checkpoint of a whole model, not of an adapter; its run had no lora.`);
  return { kind: 'checkpoint', folder, lora: settings.lora, base: (settings.model as { from?: string }).from };
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
