import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderReport } from './report/render-report.js';
import type { EvaluationResults } from './results.js';

/** Writes `results.json` and `report.html` into a folder, which is made if need be. A file is replaced whole or not at all. */
export async function writeResults(
  folder: string,
  results: EvaluationResults,
): Promise<{ readonly results: string; readonly report: string }> {
  await mkdir(folder, { recursive: true });
  const paths = { results: join(folder, 'results.json'), report: join(folder, 'report.html') };
  await replaceFile(paths.results, `${JSON.stringify(results, null, 2)}\n`);
  await replaceFile(paths.report, renderReport(results));
  return paths;
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, text, { flush: true });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new Error(
      `writeResults: ${path} could not be written: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}
