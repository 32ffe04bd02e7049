import { appendFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '@therapeutic-moe/checkpoint';

/** One line of the training log. Metrics that the model does not report are null. */
export interface StepRecord {
  readonly step: number;
  /** What was differentiated: cross-entropy plus weighted auxiliary losses. */
  readonly loss: number;
  /** Nats per counted token. */
  readonly crossEntropy: number;
  readonly balance: number | null;
  readonly z: number | null;
  /** Domain supervision loss. */
  readonly domain: number | null;
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradientNorm: number;
  /** Counted tokens of the step. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Share of the visits per expert. */
  readonly expertLoad: readonly number[] | null;
  /** The same for each layer. Absent where the model does not tell. */
  readonly expertLoadByLayer?: readonly (readonly number[])[];
  /** Nats. */
  readonly routingEntropy: number | null;
  /** Seconds of training so far, over all sessions. */
  readonly elapsed: number;
  /** Tensors alive after the step; constant when nothing leaks. */
  readonly numTensors: number;
}

/** A JSONL file with one object per line. */
export interface JsonLinesLog {
  append(record: object): void;
}

/**
 * Opens a log for appending. Lines whose `step` lies beyond `keepSteps` are removed first: they belong to steps that a
 * resumed run will do again.
 */
export async function openJsonLines(path: string, keepSteps: number): Promise<JsonLinesLog> {
  await mkdir(dirname(path), { recursive: true });
  const old = await readFile(path, 'utf8').catch(() => '');
  const kept = old.split('\n').filter((line) => isKept(line, keepSteps));
  await writeFileAtomic(path, kept.map((line) => `${line}\n`).join(''));
  return { append: (record) => appendFileSync(path, `${JSON.stringify(record)}\n`) };
}

/** The objects of a JSONL file, oldest first; a half last line is left out. */
export async function readJsonLines<T>(path: string): Promise<T[]> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  return lines.filter((line) => isKept(line, Number.POSITIVE_INFINITY)).map((line) => JSON.parse(line) as T);
}

function isKept(line: string, keepSteps: number): boolean {
  try {
    return JSON.parse(line).step <= keepSteps;
  } catch {
    return false; // the half line of a killed run
  }
}
