import cliProgress from 'cli-progress';
import type { StepRecord } from './train-log.js';

/** Where messages for people go. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
}

/** Shows how a run goes. */
export interface Progress {
  step(record: StepRecord): void;
  stop(): void;
}

/**
 * A progress bar on a terminal, one line every `everySteps` steps elsewhere.
 *
 * @param steps steps of the whole run. @param done steps done before.
 */
export function createProgress(options: {
  steps: number;
  done: number;
  logger: Logger;
  everySteps: number;
  stream?: NodeJS.WriteStream;
}): Progress {
  const { steps, done, logger, everySteps, stream = process.stderr } = options;
  const started = performance.now();
  const eta = ({ step }: StepRecord) =>
    duration(((performance.now() - started) / 1000 / (step - done)) * (steps - step));
  if (!stream.isTTY) {
    return {
      step: (record) => {
        if (record.step % everySteps === 0 || record.step === steps || record.step === done + 1) {
          logger.info(`step ${record.step}/${steps} ${describeStep(record)} eta ${eta(record)}`);
        }
      },
      stop: () => undefined,
    };
  }
  const bar = new cliProgress.SingleBar({
    format: '{bar} {value}/{total} {text} eta {left}',
    stream,
    hideCursor: true,
    barsize: 20,
    etaBuffer: 1,
  });
  bar.start(steps, done, { text: '', left: '-' });
  return {
    step: (record) => bar.update(record.step, { text: describeStep(record), left: eta(record) }),
    stop: () => bar.stop(),
  };
}

/** The figures of one step in a line. */
export function describeStep({ loss, tokensPerSecond, expertLoad, routingEntropy }: StepRecord): string {
  const parts = [`loss ${loss.toFixed(4)}`, `${Math.round(tokensPerSecond)} tok/s`];
  if (expertLoad) parts.push(`experts ${describeLoad(expertLoad)}`);
  if (routingEntropy !== null) parts.push(`entropy ${routingEntropy.toFixed(3)}`);
  return parts.join(' ');
}

/** More experts than this are told by their range. */
const MOST_SHARES = 8;

function describeLoad(load: readonly number[]): string {
  const shares = load.map((share) => Math.round(share * 100));
  if (shares.length <= MOST_SHARES) return `${shares.join('/')}%`;
  return `${Math.min(...shares)} to ${Math.max(...shares)}%`;
}

/** Seconds as 1h02m, 3m04s or 5s. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole >= 3600) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return whole >= 60 ? `${Math.floor(whole / 60)}m${two(whole % 60)}s` : `${whole}s`;
}
