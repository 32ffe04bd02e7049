import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { type Dataset, dataset, type Sample } from './dataset.js';

/**
 * Reads a JSONL file, one row per line; empty lines are skipped.
 *
 * @param toSample makes a sample of a row, or undefined to leave the row out. What it throws is reported by row number only.
 * @param name of the dataset; the file's name when absent.
 * @throws naming file and row, never the row's content, since rows may hold personal text.
 */
export async function readJsonlDataset<Input, Target = undefined>(
  path: string,
  toSample: (row: Readonly<Record<string, unknown>>, rowNumber: number) => Sample<Input, Target> | undefined,
  name = basename(path),
): Promise<Dataset<Input, Target>> {
  const samples: Sample<Input, Target>[] = [];
  let rowNumber = 0;
  for await (const line of createInterface({
    input: createReadStream(path, 'utf8'),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    rowNumber++;
    if (line.trim() === '') continue;
    const row = parseRow(line, `${basename(path)}: row ${rowNumber}`);
    const sample = mapRow(() => toSample(row, rowNumber), `${basename(path)}: row ${rowNumber}`);
    if (sample) samples.push(sample);
  }
  return dataset(name, samples);
}

function parseRow(line: string, where: string): Readonly<Record<string, unknown>> {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    throw new Error(`${where} is not valid JSON.`); // the parser's own message quotes the row
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row)) throw new Error(`${where} must be a JSON object.`);
  return row as Record<string, unknown>;
}

/** What `toSample` throws may quote the row, so it does not travel on. */
function mapRow<Result>(map: () => Result, where: string): Result {
  try {
    return map();
  } catch {
    throw new Error(`${where} could not be made into a sample; check that it has the expected fields.`);
  }
}
