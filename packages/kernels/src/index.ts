export { type AdamWOptions, adamWUpdate, adamWUpdateReference, sumOfSquares } from './adam-w.js';
export { crossEntropy, crossEntropyReference } from './cross-entropy.js';
export {
  type DecodeCache,
  type DecodedLayer,
  type DecodedRouting,
  type DecodeLayerOptions,
  type DecodeLayerWeights,
  decodeLayer,
  decodeLayerReference,
  hasDecodeLayer,
} from './decode-layer.js';
export { type AttentionOptions, flashAttention, flashAttentionReference, readsKeysInPlace } from './flash-attention.js';
export { float32Products } from './float32-products.js';
export { frozenMatMul, groupedFrozenMatMul } from './frozen-mat-mul.js';
export { type FrozenDtype, type FrozenMatrix, frozenMatrix, wordsPerRow } from './frozen-matrix.js';
export { gather } from './gather.js';
export { groupedMatMul, groupedMatMulReference } from './grouped-mat-mul.js';
export { type InstalledKernels, type InstallOptions, installKernels } from './install-kernels.js';
export { type PackedInt8, packInt8, packInt8Reference, unpackInt8, unpackInt8Reference } from './int8.js';
export { documentRanges, type KeyRanges, paddingRanges, type Visibility } from './key-ranges.js';
export { matMul } from './mat-mul.js';
export { rmsNorm, rmsNormReference } from './rms-norm.js';
export { type RopeTables, type RotaryLayout, rotate, rotateReference } from './rotate.js';
export { combineRows, combineRowsReference, dispatchRows, type GroupedRowPlan, type RowPlan } from './row-plan.js';
export { swiGlu, swiGluReference } from './swi-glu.js';
export { frozenRows, thaw } from './thaw.js';
export { unfilled } from './unfilled.js';
export { shareMemory } from './wasm/share-memory.js';
export {
  type BlockPlace,
  type HalfBlock,
  writeBlock,
  writeBlockReference,
  writesBlocks,
  writeTransposed,
} from './write-block.js';
export { writeRows, writeRowsReference } from './write-rows.js';
