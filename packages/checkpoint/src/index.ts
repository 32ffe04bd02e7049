export { bfloat16ToFloat32, float32ToBfloat16 } from './bfloat16.js';
export { type CheckpointReader, openCheckpoint } from './checkpoint-reader.js';
export { type DecodableDtype, decodeValues } from './decode-values.js';
export type { SafetensorsDtype } from './dtype.js';
export { float16ToFloat32, float32ToFloat16 } from './float16.js';
export { parseHeader, type SafetensorsHeader, type TensorEntry } from './header.js';
export { type PackedDtype, type PackedRows, packRows, unpackRows } from './pack-rows.js';
export {
  type NamedArray,
  type PendingArray,
  type ShardOptions,
  type WritableDtype,
  type WrittenFile,
  writeSafetensors,
  writeShardedSafetensors,
} from './safetensors-writer.js';
export { parseShardIndex } from './shard-index.js';
export { writeFileAtomic } from './write-file-atomic.js';
