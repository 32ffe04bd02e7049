import { duration } from '@therapeutic-moe/trainer';
import cliProgress from 'cli-progress';

/** Shows how a download goes. */
export interface DownloadProgress {
  /** More bytes belong to the download. */
  expect(bytes: number): void;
  /** The next file begins. */
  start(file: string): void;
  /** @param received whether the bytes came just now, or were on disk. */
  add(bytes: number, received: boolean): void;
  stop(): void;
}

/** A bar on a terminal; elsewhere a line for each file and each tenth of the whole. */
export function createDownloadProgress(stream: NodeJS.WriteStream = process.stderr): DownloadProgress {
  const counter = new Counter();
  return stream.isTTY ? barOn(stream, counter) : linesOn(stream, counter);
}

/** What came, how fast, and how long the rest takes. */
class Counter {
  total = 0;
  done = 0;
  private received = 0;
  private started = performance.now();

  add(bytes: number, received: boolean): void {
    this.done += bytes;
    if (!received) return;
    if (this.received === 0) this.started = performance.now();
    this.received += bytes;
  }

  toString(): string {
    const speed = this.received / Math.max(0.001, (performance.now() - this.started) / 1000);
    const left = this.received > 0 ? `, ${duration((this.total - this.done) / speed)} left` : '';
    return `${size(this.done)} of ${size(this.total)}${this.received > 0 ? `, ${size(speed)}/s` : ''}${left}`;
  }
}

function barOn(stream: NodeJS.WriteStream, counter: Counter): DownloadProgress {
  const bar = new cliProgress.SingleBar({ format: '{bar} {text} {file}', stream, hideCursor: true, barsize: 20 });
  bar.start(1, 0, { text: '', file: '' });
  return {
    expect(bytes) {
      counter.total += bytes;
      bar.setTotal(counter.total);
    },
    start: (file) => bar.update({ file }),
    add(bytes, received) {
      counter.add(bytes, received);
      bar.update(counter.done, { text: String(counter) });
    },
    stop: () => bar.stop(),
  };
}

function linesOn(stream: NodeJS.WriteStream, counter: Counter): DownloadProgress {
  let tenths = 0;
  let file = '';
  const say = () => stream.write(`${file}: ${counter}\n`);
  return {
    expect(bytes) {
      counter.total += bytes;
    },
    start(name) {
      file = name;
      say();
    },
    add(bytes, received) {
      counter.add(bytes, received);
      const now = Math.floor((10 * counter.done) / counter.total);
      if (now > tenths) say();
      tenths = now;
    },
    stop: say,
  };
}

/** Bytes in the largest unit of which there is at least one. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}
