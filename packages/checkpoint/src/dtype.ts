/** Element types a safetensors header may name. All of them can be read raw; F32, F16 and BF16 also decode to float32. */
export type SafetensorsDtype =
  | 'BOOL'
  | 'U8'
  | 'I8'
  | 'F8_E4M3'
  | 'F8_E5M2'
  | 'I16'
  | 'U16'
  | 'F16'
  | 'BF16'
  | 'I32'
  | 'U32'
  | 'F32'
  | 'I64'
  | 'U64'
  | 'F64';

const BYTES: Readonly<Record<SafetensorsDtype, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
};

/** True if `name` is an element type this package knows. */
export function isSafetensorsDtype(name: unknown): name is SafetensorsDtype {
  return typeof name === 'string' && Object.hasOwn(BYTES, name);
}

/** True if a tensor of this type decodes to float32 without loss: F32, F16 and BF16. */
export function isFloatDtype(dtype: SafetensorsDtype): dtype is 'F32' | 'F16' | 'BF16' {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

/** Bytes of one element. */
export function bytesPerElement(dtype: SafetensorsDtype): number {
  return BYTES[dtype];
}

/** All known element types, for error messages. */
export function knownDtypes(): string {
  return Object.keys(BYTES).join(', ');
}
