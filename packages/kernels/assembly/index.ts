// Every export works on byte offsets into the memory of tfjs's wasm backend: no allocation, no static data, no stack.
export { gemm, gemmScratchBytes } from './gemm';
export { frozenGemm, frozenGemmBack, frozenGemv, frozenScratchBytes, thawRows } from './frozen';
export { gemvRows, gemvColumns } from './gemv';
export { attendOne } from './decode-layer';
export { gatherRows, takeRows, scatterAddRows, combineRows, combineRowsGradient, sumRows } from './rows';
export { rmsNorm, rmsNormGradient } from './rms-norm';
export { swiGlu, swiGluGradient } from './swi-glu';
export { rotate } from './rotate';
export { attention, attentionScratchBytes } from './attention';
export { attentionGradient, attentionGradientScratchBytes } from './attention-gradient';
export { crossEntropy } from './cross-entropy';
export { widenHalves } from './halves';
export { transposeBlock, transposeHalves, transposeScratchBytes } from './transpose';
export { packInt8, unpackInt8 } from './int8';
export { adamW, sumDoubles, sumOfSquares } from './adam-w';
