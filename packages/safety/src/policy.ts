import type { CrisisThresholds } from './crisis.js';
import { type Region, regions } from './resources.js';

/**
 * What a caller does with a conversation. `none`: answer. `note`: answer, with `safetyNote` in front. `refuse` and `resources`: do not
 * call the model, answer with `safetyReply`.
 */
export type SafetyAction = 'none' | 'note' | 'refuse' | 'resources';

/** What to do about each finding. */
export interface SafetyActions {
  readonly imminent: SafetyAction;
  readonly high: SafetyAction;
  readonly concern: SafetyAction;
  /** The level is `concern` only because of earlier turns; the last one says nothing worrying. */
  readonly earlierConcern: SafetyAction;
  readonly harm: SafetyAction;
  readonly bias: SafetyAction;
  readonly boundary: SafetyAction;
}

/** A safety policy: a value, passed to whoever serves. */
export interface SafetyPolicy {
  /** Names this set of thresholds and actions; part of a response cache's key. */
  readonly version: string;
  /** Whose telephone numbers are shown. */
  readonly region: Region;
  readonly thresholds: CrisisThresholds;
  readonly actions: SafetyActions;
}

/** A policy as a caller writes it: what is absent has its default. */
export interface SafetyPolicyOptions {
  readonly version?: string;
  readonly region?: Region;
  readonly thresholds?: Partial<CrisisThresholds>;
  readonly actions?: Partial<SafetyActions>;
}

const DEFAULT_VERSION = 'safety-1';
const defaultThresholds: CrisisThresholds = { concern: 0.35, high: 0.65 };
const defaultActions: SafetyActions = {
  imminent: 'resources',
  high: 'resources',
  concern: 'resources',
  earlierConcern: 'note',
  harm: 'refuse',
  bias: 'note',
  boundary: 'note',
};
const actionNames: readonly string[] = ['none', 'note', 'refuse', 'resources'];

/**
 * Checks a policy, fills in defaults and freezes it.
 *
 * @throws when a key or region is unknown, a threshold is not in order, a crisis would be ignored, or thresholds or actions were changed
 * without a version of their own (cached answers could not be told apart).
 */
export function resolvePolicy(options: SafetyPolicyOptions = {}): SafetyPolicy {
  refuseUnknown('safety policy', options, ['version', 'region', 'thresholds', 'actions']);
  refuseUnknown('safety policy: thresholds', options.thresholds ?? {}, Object.keys(defaultThresholds));
  refuseUnknown('safety policy: actions', options.actions ?? {}, Object.keys(defaultActions));
  const thresholds = Object.freeze({ ...defaultThresholds, ...options.thresholds });
  const actions = Object.freeze({ ...defaultActions, ...options.actions });
  const region = options.region ?? 'international';
  checkThresholds(thresholds);
  checkActions(actions);
  if (!regions.includes(region))
    throw new Error(`safety policy: region must be one of ${regions.join(', ')}, got ${show(region)}.`);
  return Object.freeze({ version: checkedVersion(options, thresholds, actions), region, thresholds, actions });
}

function checkThresholds({ concern, high }: CrisisThresholds): void {
  if (typeof concern === 'number' && typeof high === 'number' && concern > 0 && concern <= high && high <= 1) return;
  throw new Error(
    `safety policy: thresholds must satisfy 0 < concern <= high <= 1, got concern ${show(concern)} and high ${show(high)}.`,
  );
}

function checkActions(actions: SafetyActions): void {
  for (const [finding, action] of Object.entries(actions)) {
    if (!actionNames.includes(action)) {
      throw new Error(
        `safety policy: actions.${finding} must be one of ${actionNames.join(', ')}, got ${show(action)}.`,
      );
    }
  }
  for (const level of ['high', 'imminent'] as const) {
    if (actions[level] !== 'resources') {
      throw new Error(
        `safety policy: actions.${level} is ${show(actions[level])}; a person in crisis must be shown resources, leave it at "resources".`,
      );
    }
  }
}

function checkedVersion(options: SafetyPolicyOptions, thresholds: CrisisThresholds, actions: SafetyActions): string {
  const version = options.version ?? DEFAULT_VERSION;
  if (typeof version !== 'string' || version.trim() === '')
    throw new Error(`safety policy: version must be a non-empty string, got ${show(version)}.`);
  const changed = !same(thresholds, defaultThresholds) || !same(actions, defaultActions);
  if (changed && version === DEFAULT_VERSION) {
    throw new Error(
      `safety policy: thresholds or actions differ from those of version "${DEFAULT_VERSION}"; give the policy a version of its own.`,
    );
  }
  return version;
}

const same = (a: object, b: object): boolean =>
  Object.entries(a).every(([key, value]) => (b as Record<string, unknown>)[key] === value);

const show = (value: unknown): string => JSON.stringify(value) ?? String(value);

function refuseUnknown(where: string, value: object, known: readonly string[]): void {
  if (typeof value !== 'object' || value === null) throw new Error(`${where} must be an object, got ${show(value)}.`);
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new Error(`${where}: unknown key "${unknown}"; known keys are ${known.join(', ')}.`);
}
