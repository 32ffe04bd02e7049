import { ApiError } from './api-error.js';
import type { ChatModel } from './chat-model.js';

/** The models by name, in the order they were given. @throws Error when there is none or a name comes twice. */
export function modelsByName(models: readonly ChatModel[]): ReadonlyMap<string, ChatModel> {
  if (models.length === 0) throw new Error('createApp: models must hold at least one ChatModel, got none.');
  const byName = new Map(models.map((model) => [model.id, model]));
  if (byName.size < models.length) {
    throw new Error(`createApp: models must have different ids, got ${models.map(({ id }) => id).join(', ')}.`);
  }
  return byName;
}

/** @param id absent means the first model. @throws ApiError 404 that lists what there is. */
export function findModel(models: ReadonlyMap<string, ChatModel>, id: string | undefined): ChatModel {
  const found = id === undefined ? models.values().next().value : models.get(id);
  if (found !== undefined) return found;
  throw new ApiError(
    404,
    `model: there is no such model here; GET /v1/models lists ${[...models.keys()].join(', ')}.`,
    {
      param: 'model',
      code: 'model_not_found',
    },
  );
}

/** A model as `GET /v1/models` shows it, with vLLM's `root` and `parent`: whose weights it has, and whose adapter it is. */
export function modelBody(model: ChatModel) {
  return {
    id: model.id,
    object: 'model' as const,
    created: 0,
    owned_by: 'therapeutic-moe',
    root: model.parent ?? model.id,
    parent: model.parent ?? null,
    max_model_len: model.contextLength,
  };
}
