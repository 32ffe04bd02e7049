import type { JsonFields } from './json-fields.js';

type LayerType = 'full_attention' | 'sliding_attention';

/**
 * The window of all layers. null means none, and so does a window that no position leaves. Qwen2-MoE alone has a switch,
 * `use_sliding_window`, and its window is in every second layer below `max_window_layers` unless `layer_types` says otherwise.
 *
 * @param positions that the model serves.
 * @throws when the window differs between layers, or `layer_types` contradicts the other fields.
 */
export function windowFromHuggingFace(fields: JsonFields, positions: number): number | undefined {
  const window = switchedOn(fields);
  const types = layerTypes(fields, window);
  const sliding = types.flatMap((type, layer) => (type === 'sliding_attention' ? [layer] : []));
  if (window === undefined && sliding.length > 0)
    return fields.refuse('layer_types', "no 'sliding_attention', since the window is switched off or absent");
  if (window === undefined || window >= positions) return undefined;
  if (sliding.length === types.length) return window;
  const { json, file } = fields;
  if (sliding.length > 0) {
    const reason = json.layer_types
      ? 'layer_types'
      : `use_sliding_window with max_window_layers ${json.max_window_layers}`;
    throw new Error(
      `${file}: ${reason} gives layers ${sliding.join(', ')} a sliding_window of ${window} and the others none; a window that differs between layers is not implemented. For texts of up to ${window} tokens set max_position_embeddings to ${window}.`,
    );
  }
  if (json.model_type === 'qwen2_moe') return undefined;
  throw new Error(
    `${file}: layer_types says full_attention, but sliding_window is ${window}; set sliding_window to null, or leave layer_types out.`,
  );
}

function switchedOn({ json, refuse }: JsonFields): number | undefined {
  const { model_type: family, sliding_window: window, use_sliding_window: used } = json;
  if (family === 'qwen2_moe' && typeof used !== 'boolean') return refuse('use_sliding_window', 'true or false');
  if (window === null || (family === 'qwen2_moe' && used === false)) return undefined;
  if (window === 0)
    return refuse('sliding_window', '1 or more, or null for none; transformers computes nothing with 0');
  return typeof window === 'number' ? window : refuse('sliding_window', 'a number or null');
}

/** One for each layer, or one for all of them where the file names none. */
function layerTypes(fields: JsonFields, window: number | undefined): readonly LayerType[] {
  const { json, refuse, number } = fields;
  const types = json.layer_types ?? null;
  const layers = number('num_hidden_layers');
  if (types !== null) {
    const known = (type: unknown) => type === 'full_attention' || type === 'sliding_attention';
    if (!Array.isArray(types) || !types.every(known))
      return refuse('layer_types', "a list of 'full_attention' or 'sliding_attention'; others are not implemented");
    if (types.length !== layers) return refuse('layer_types', `one type for each of ${layers} layers`);
    return types as LayerType[];
  }
  if (window === undefined) return ['full_attention'];
  if (json.model_type !== 'qwen2_moe') return ['sliding_attention'];
  const below = number('max_window_layers');
  return Array.from({ length: layers }, (_, layer) =>
    layer % 2 === 0 && layer < below ? 'sliding_attention' : 'full_attention',
  );
}
