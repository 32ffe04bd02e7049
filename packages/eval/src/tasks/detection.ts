import type { Dataset } from '../dataset.js';
import { wilsonInterval } from '../interval.js';
import { groupNames, type Metric, type Scored } from '../metric.js';
import type { MetricResult, ValueResult } from '../results.js';
import { type Task, task } from '../task.js';

/** Says whether an input has what the detector looks for. */
export type Detector<Input> = (input: Input, signal: AbortSignal) => boolean | Promise<boolean>;

interface Detection {
  readonly expected: boolean;
  readonly detected: boolean;
}

/**
 * A detector on labelled inputs: the confusion matrix, sensitivity and false alarm rate apart, and the share detected in each group.
 * Accuracy is left out: on unequal classes it hides what was missed.
 *
 * @param options.positive what is looked for, for example `crisis`.
 */
export function detectionTask<Input>(options: {
  readonly name: string;
  readonly description?: string;
  /** `target` is true where the detector should find something. */
  readonly dataset: Dataset<Input, boolean>;
  readonly positive: string;
  readonly detect: Detector<Input>;
}): Task {
  const { detect, positive, ...rest } = options;
  return task({
    ...rest,
    solver: detect,
    scorer: (detected, { target }): Detection => {
      if (typeof detected !== 'boolean')
        throw new Error(`the detector must answer true or false, got ${typeof detected}.`);
      return { expected: target, detected };
    },
    metrics: [confusion(positive), detectedByGroup],
  });
}

function confusion(positive: string): Metric<Detection> {
  return (scored) => {
    const count = (expected: boolean, detected: boolean) =>
      scored.filter(({ score }) => score.expected === expected && score.detected === detected).length;
    const truePositives = count(true, true);
    const falseNegatives = count(true, false);
    const falsePositives = count(false, true);
    const trueNegatives = count(false, false);
    const rates = [
      ...rate('sensitivity', truePositives, truePositives + falseNegatives, 'higher'),
      ...rate('false alarm rate', falsePositives, falsePositives + trueNegatives, 'lower'),
    ];
    return [
      ...rates,
      {
        kind: 'confusion',
        name: 'confusion matrix',
        positive,
        truePositives,
        falseNegatives,
        falsePositives,
        trueNegatives,
        n: scored.length,
      },
    ];
  };
}

/** A rate without a single case of its kind is not reported rather than reported as 0. */
function rate(name: string, successes: number, n: number, better: 'higher' | 'lower'): ValueResult[] {
  return n === 0
    ? []
    : [{ kind: 'value', name, value: successes / n, n, interval: wilsonInterval(successes, n), better }];
}

const detectedByGroup: Metric<Detection> = (scored) => {
  const groups = groupNames(scored);
  if (groups.length < 2) return [];
  return groups.flatMap((group) =>
    detectedIn(
      group,
      scored.filter((each) => each.group === group),
    ),
  );
};

/** In a group of one kind, the rate of that kind; in a mixed one, both. */
function detectedIn(group: string, members: readonly Scored<Detection>[]): MetricResult[] {
  return [true, false].flatMap((expected) => {
    const ofKind = members.filter(({ score }) => score.expected === expected);
    const found = ofKind.filter(({ score }) => score.detected).length;
    return rate(expected ? 'sensitivity' : 'false alarm rate', found, ofKind.length, expected ? 'higher' : 'lower').map(
      (result) => ({ ...result, group }),
    );
  });
}
