import { readFile, writeFile } from 'node:fs/promises';

/** A tensor by its bytes, of any type: what this project's writer does not write. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Writes tensors into a safetensors file that is there, in the place of those of the same names. */
export async function writeStored(file: string, replaced: readonly StoredTensor[]): Promise<void> {
  const old = await readFile(file);
  const dataStart = 8 + Number(old.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(old.toString('utf8', 8, dataStart));
  const kept = Object.entries(
    entries as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>,
  )
    .filter(([name]) => !replaced.some((tensor) => tensor.name === name))
    .filter(([name]) => !/\.(weight_scale|weight_zero_point|SCB|weight_format)$/.test(name))
    .map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => ({
        name,
        dtype,
        shape,
        bytes: old.subarray(dataStart + start, dataStart + end),
      }),
    );
  let at = 0;
  const header: Record<string, object> = {};
  const tensors = [...kept, ...replaced];
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  await writeFile(file, Buffer.concat([prefix, json, ...tensors.map(({ bytes }) => bytes)]));
}
