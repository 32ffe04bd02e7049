import { bytesPerElement, isSafetensorsDtype, knownDtypes, type SafetensorsDtype } from './dtype.js';
import { findDuplicateKey } from './duplicate-keys.js';
import { isCount, isShape } from './shape.js';
import { shown } from './shown.js';

/** Where one tensor lies in its file. */
export interface TensorEntry {
  /** The tensor's name, for example `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  /** The type its elements are stored in. */
  readonly dtype: SafetensorsDtype;
  /** Its dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly start: number;
  /** One past the last byte, counted from the start of the file. */
  readonly end: number;
}

/** What a safetensors file says about itself. */
export interface SafetensorsHeader {
  /** Every tensor, by place in the file. */
  readonly tensors: readonly TensorEntry[];
  /** The free text pairs under `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** First byte of tensor data, counted from the start of the file. */
  readonly dataStart: number;
}

/** The limit of the reference implementation: a header is never longer. */
const MAX_HEADER_BYTES = 100_000_000;
const PREFIX_BYTES = 8;

/**
 * Reads the first eight bytes of a safetensors file: where the header ends and the data starts. Refuses before
 * anything of that size is allocated.
 *
 * @param prefix at least the first 8 bytes of the file.
 * @param fileSize bytes of the whole file.
 * @param file the name to use in errors.
 * @throws if the file is shorter than its header claims, or the claim is absurd.
 */
export function dataStartOf(prefix: Uint8Array, fileSize: number, file: string): number {
  if (fileSize < PREFIX_BYTES || prefix.length < PREFIX_BYTES) {
    throw new Error(
      `checkpoint: ${file}: expected at least 8 bytes of header length, got a file of ${fileSize} bytes; it is truncated or not safetensors.`,
    );
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new Error(
      `checkpoint: ${file}: expected a header of at most ${MAX_HEADER_BYTES} bytes, got a claim of ${length}; the file is not safetensors.`,
    );
  }
  const dataStart = PREFIX_BYTES + Number(length);
  if (dataStart > fileSize) {
    throw new Error(
      `checkpoint: ${file}: expected a header of ${length} bytes after the first 8, got a file of ${fileSize} bytes; it is truncated, fetch it again.`,
    );
  }
  return dataStart;
}

function parseJson(bytes: Uint8Array, file: string): Record<string, unknown> {
  let header: unknown;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (cause) {
    throw new Error(`checkpoint: ${file}: expected a JSON header, got text that does not parse.`, { cause });
  }
  if (text[0] !== '{' || typeof header !== 'object' || header === null) {
    throw new Error(`checkpoint: ${file}: expected a header that starts with "{", got ${JSON.stringify(text[0])}.`);
  }
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) {
    throw new Error(`checkpoint: ${file}: expected every name once in the header, got "${duplicate}" twice.`);
  }
  return header as Record<string, unknown>;
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`checkpoint: ${file}: expected __metadata__ to be an object of strings, got ${shown(value)}.`);
  }
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') {
      throw new Error(
        `checkpoint: ${file}: expected __metadata__.${key} to be a string, got ${shown(text)}; metadata holds only text.`,
      );
    }
  }
  return value as Record<string, string>;
}

function parseEntry(name: string, value: unknown, dataStart: number, dataBytes: number, file: string): TensorEntry {
  const where = `checkpoint: ${file}: tensor "${name}"`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`${where}: expected {dtype, shape, data_offsets}, got ${shown(value)}.`);
  }
  const { dtype, shape, data_offsets: offsets, ...rest } = value as Record<string, unknown>;
  const unknown = Object.keys(rest);
  if (unknown.length)
    throw new Error(`${where}: expected dtype, shape and data_offsets only, got "${unknown[0]}" too.`);
  if (!isSafetensorsDtype(dtype)) {
    throw new Error(`${where}: expected a dtype of ${knownDtypes()}, got ${shown(dtype)}.`);
  }
  if (!isShape(shape)) {
    throw new Error(
      `${where}: expected a shape of whole numbers from 0 up, together below 2^53 bytes, got ${shown(shape)}.`,
    );
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw new Error(`${where}: expected data_offsets [start, end] of whole numbers, got ${shown(offsets)}.`);
  }
  const [start, end] = offsets as [number, number];
  if (start > end || end > dataBytes) {
    throw new Error(
      `${where}: expected data_offsets within the ${dataBytes} bytes of data, got [${start}, ${end}]; the file is truncated or its header is damaged.`,
    );
  }
  const size = shape.reduce((product, d) => product * d, bytesPerElement(dtype));
  if (size !== end - start) {
    throw new Error(
      `${where}: expected ${size} bytes for ${dtype} ${shown(shape)}, got ${end - start} (data_offsets [${start}, ${end}]).`,
    );
  }
  return { name, dtype, shape, start: dataStart + start, end: dataStart + end };
}

function checkCoverage(tensors: readonly TensorEntry[], dataStart: number, fileSize: number, file: string): void {
  let position = dataStart;
  for (const { name, start, end } of tensors) {
    if (start !== position) {
      const fault = start < position ? 'overlaps the tensor before it' : 'leaves a gap before it';
      throw new Error(
        `checkpoint: ${file}: tensor "${name}": expected data to start at byte ${position - dataStart}, got ${start - dataStart}, which ${fault}.`,
      );
    }
    position = end;
  }
  if (position !== fileSize) {
    throw new Error(
      `checkpoint: ${file}: expected ${position} bytes for header and tensors, got a file of ${fileSize} bytes; nothing may follow the last tensor.`,
    );
  }
}

/**
 * Parses a safetensors header, strictly: every byte of data belongs to exactly one tensor, every shape fits its bytes,
 * every name occurs once. Nothing of a tensor's claimed size is allocated.
 *
 * @param bytes the file's first bytes, at least up to the end of the header.
 * @param fileSize bytes of the whole file.
 * @param file the name to use in errors.
 * @throws an error that names file, tensor, what was expected and what came.
 */
export function parseHeader(bytes: Uint8Array, fileSize: number, file = 'safetensors'): SafetensorsHeader {
  const dataStart = dataStartOf(bytes, fileSize, file);
  if (bytes.length < dataStart) {
    throw new Error(
      `checkpoint: ${file}: expected the ${dataStart} bytes up to the end of the header, got ${bytes.length}.`,
    );
  }
  const { __metadata__: metadata, ...entries } = parseJson(bytes.subarray(PREFIX_BYTES, dataStart), file);
  const tensors = Object.entries(entries)
    .map(([name, value]) => parseEntry(name, value, dataStart, fileSize - dataStart, file))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  checkCoverage(tensors, dataStart, fileSize, file);
  return { tensors, metadata: parseMetadata(metadata, file), dataStart };
}
