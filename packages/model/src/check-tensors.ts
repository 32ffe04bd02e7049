import type { CheckpointReader, TensorEntry } from '@therapeutic-moe/checkpoint';
import type { Int8Weights } from './hugging-face/quantization.js';
import type { TensorPiece } from './hugging-face/tensor-map.js';

const FLOATS = ['F32', 'F16', 'BF16'];

/**
 * Holds a checkpoint's headers against what a config asks for, before anything is read or allocated.
 *
 * @param int8 how the config says that weights are stored in 8 bits; absent: all are floats.
 * @throws when a tensor is missing, surplus, or of another shape or type, naming file, tensor, expected and found.
 */
export function checkTensors(
  reader: CheckpointReader,
  map: ReadonlyMap<string, readonly TensorPiece[]>,
  int8?: Int8Weights,
): void {
  const present = new Set(reader.names);
  const known = new Set<string>();
  for (const { name, ...piece } of [...map.values()].flat()) {
    const { shape } = piece.within ?? piece;
    if (!present.has(name))
      throw new Error(`${reader.path}: the checkpoint lacks ${name} [${shape}], which config.json asks for.`);
    const found = reader.entry(name);
    if (found.shape.join() !== shape.join())
      throw new Error(`${reader.fileOf(name)}: ${name} must be [${shape}] by config.json, got [${found.shape}].`);
    known.add(name);
    if (FLOATS.includes(found.dtype)) continue;
    if (found.dtype !== 'I8' || !int8) {
      const types = int8 ? [...FLOATS, 'I8'] : FLOATS;
      const hint = found.dtype === 'I8' ? '; config.json has no quantization_config, which says what it means' : '';
      throw new Error(
        `${reader.fileOf(name)}: ${name} must be stored as ${types.join(', ')}, got ${found.dtype}${hint}.`,
      );
    }
    for (const companion of checkInt8(reader, present, found, int8)) known.add(companion);
  }
  for (const name of present) {
    // Older exports carry the rotary frequencies, which follow from the config.
    if (known.has(name) || name.endsWith('.rotary_emb.inv_freq')) continue;
    throw new Error(
      `${reader.fileOf(name)}: ${name} [${reader.entry(name).shape}] fits nothing in this model; is config.json another model's?`,
    );
  }
}

/** What stands beside a weight of 8 bits. */
function checkInt8(
  reader: CheckpointReader,
  present: ReadonlySet<string>,
  weight: TensorEntry,
  int8: Int8Weights,
): string[] {
  const scales = int8.scalesOf(weight.name);
  const outputs = weight.shape[0]!;
  if (weight.shape.length !== 2 || scales === weight.name)
    throw new Error(`${reader.fileOf(weight.name)}: ${weight.name} [${weight.shape}] is I8; only matrices may be.`);
  if (!present.has(scales))
    throw new Error(`${reader.path}: the checkpoint lacks ${scales} [${outputs}], the scales of ${weight.name}.`);
  const { shape, dtype } = reader.entry(scales);
  if (!FLOATS.includes(dtype) || (shape.join() !== `${outputs}` && shape.join() !== `${outputs},1`)) {
    throw new Error(
      `${reader.fileOf(scales)}: ${scales} must be ${FLOATS.join(' or ')} [${outputs}] or [${outputs},1], a scale for each output, got ${dtype} [${shape}].`,
    );
  }
  return [scales, ...int8.zerosOf(weight.name).filter((name) => present.has(name))];
}

/**
 * Reads what stands beside weights of 8 bits and must be nothing: zero points, and the order of values, 0 for rows.
 *
 * @throws naming file and tensor, when one holds another number than 0.
 */
export async function checkZeros(
  reader: CheckpointReader,
  map: ReadonlyMap<string, readonly TensorPiece[]>,
  int8: Int8Weights,
): Promise<void> {
  const present = new Set(reader.names);
  for (const { name } of [...map.values()].flat()) {
    if (reader.entry(name).dtype !== 'I8') continue;
    for (const zeros of int8.zerosOf(name).filter((each) => present.has(each))) {
      if ((await reader.readRaw(zeros)).every((byte) => byte === 0)) continue;
      throw new Error(`${reader.fileOf(zeros)}: ${zeros} must be 0, got another number, which is not implemented.`);
    }
  }
}
