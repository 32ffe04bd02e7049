// A vitest reporter that counts the tests and names what was skipped, for scripts/test.mjs to print last.
import { writeFileSync } from 'node:fs';

export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const summary = { passed: 0, failed: unhandledErrors.length, skipped: 0, skippedSuites: [] };
    for (const testModule of modules) {
      if (testModule.errors().length > 0) summary.failed++; // the file did not load
      for (const test of testModule.children.allTests())
        summary[test.result().state] = (summary[test.result().state] ?? 0) + 1;
      summary.skippedSuites.push(
        ...skippedNames(testModule.children).map((name) => ({ file: testModule.relativeModuleId, name })),
      );
    }
    if (process.env.TMOE_TEST_SUMMARY) writeFileSync(process.env.TMOE_TEST_SUMMARY, JSON.stringify(summary));
  }
}

/** The outermost suites and tests of which nothing ran. */
function skippedNames(children) {
  const names = [];
  for (const child of children) {
    if (child.type === 'test') {
      if (child.result().state === 'skipped') names.push(child.name);
    } else if ([...child.children.allTests()].every((test) => test.result().state === 'skipped')) {
      names.push(child.name);
    } else {
      names.push(...skippedNames(child.children).map((name) => `${child.name} > ${name}`));
    }
  }
  return names;
}
