import { isMissing, isNode, reasonOf } from './node-modules.js';

const packages = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;

/** What came of looking for TensorFlow's native addon. */
export type AddonOutcome = { loaded: string } | { missing: string };

/**
 * Loads tfjs-node-gpu or tfjs-node, which register the backend `tensorflow` on our tfjs-core. Looks in the folder that
 * `TMOE_TFJS_NODE` names (its `node_modules`), then where this package would find its own dependencies.
 *
 * @returns the package that was loaded and from where, or why none was.
 */
export async function loadTensorflowAddon(): Promise<AddonOutcome> {
  if (!isNode()) return { missing: 'it needs Node' };
  const { createRequire, registerHooks } = await import('node:module');
  const { join, resolve } = await import('node:path');
  const util = await import('node:util');
  restoreRemovedUtilities(util.default);
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'; // TensorFlow prints a page about processor features otherwise

  const folder = process.env.TMOE_TFJS_NODE;
  const ours = createRequire(import.meta.url);
  const theirs = folder ? createRequire(join(resolve(folder), 'package.json')) : ours;
  const shared = shareTfjs(registerHooks, ours);
  const reasons: string[] = [];
  try {
    for (const name of packages) {
      try {
        theirs(name);
        return { loaded: folder ? `${name} from ${resolve(folder)}` : name };
      } catch (thrown) {
        if (!isMissing(thrown, name)) reasons.push(`${name}: ${reasonOf(thrown)}`);
      }
    }
  } finally {
    shared?.deregister();
  }
  if (reasons.length > 0) return { missing: reasons.join('; ') };
  return { missing: `${packages.join(' and ')} are not installed${folder ? ` in ${resolve(folder)}` : ''}` };
}

/** tfjs-node 4.22 calls two functions that Node 22 warns about and Node 23 removed (tfjs issue 8609). */
function restoreRemovedUtilities(util: Record<string, unknown>): void {
  util.isNullOrUndefined = (value: unknown) => value === null || value === undefined;
  util.isArray = Array.isArray;
}

/**
 * tfjs-node asks for `@tensorflow/tfjs`. Where it is installed in a folder of its own it would get its own copy, whose
 * tensors are of other classes than ours; while it loads, those requests resolve to our copies.
 */
function shareTfjs(
  registerHooks: typeof import('node:module').registerHooks | undefined,
  ours: NodeJS.Require,
): { deregister(): void } | undefined {
  const entries = new Map<string, string>();
  for (const name of ['@tensorflow/tfjs', '@tensorflow/tfjs-core']) entries.set(name, ours.resolve(name));
  return registerHooks?.({
    resolve: (specifier, context, next) => next(entries.get(specifier) ?? specifier, context),
  });
}
