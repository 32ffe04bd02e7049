import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { AdmissionQueue } from './admission-queue.js';

/** What one finished chat reply adds to the metrics. */
export interface ReplyMeasure {
  model: string;
  cache: 'hit' | 'miss' | 'bypass';
  safetyAction: string;
  promptTokens: number;
  completionTokens: number;
  /** Seconds the model was at work; absent when it was not asked. */
  generationSeconds?: number;
  routing: Record<string, number>;
}

/** The Prometheus metrics of one app, in a registry of its own. Labels are fixed words and model names, never texts. */
export class ServerMetrics {
  readonly registry = new Registry();
  readonly #requests: Counter<'route' | 'method' | 'status'>;
  readonly #seconds: Histogram<'route'>;
  readonly #cache: Counter<'result'>;
  readonly #safety: Counter<'action'>;
  readonly #tokens: Counter<'model' | 'kind'>;
  readonly #generation: Histogram<'model'>;
  readonly #routing: Counter<'model' | 'expert'>;
  readonly #aborted: Counter;

  constructor(queue: AdmissionQueue) {
    const registers = [this.registry];
    this.#requests = new Counter({
      name: 'tmoe_http_requests_total',
      help: 'HTTP requests answered, by route, method and status.',
      labelNames: ['route', 'method', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'tmoe_http_request_seconds',
      help: 'Seconds from the request to the end of its response, by route.',
      labelNames: ['route'],
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120],
      registers,
    });
    this.#cache = new Counter({
      name: 'tmoe_cache_replies_total',
      help: 'Chat replies by what the response cache did.',
      labelNames: ['result'],
      registers,
    });
    this.#safety = new Counter({
      name: 'tmoe_safety_replies_total',
      help: 'Chat replies by safety action.',
      labelNames: ['action'],
      registers,
    });
    this.#tokens = new Counter({
      name: 'tmoe_tokens_total',
      help: 'Tokens read (prompt) and written (completion) by the model; cached replies add none.',
      labelNames: ['model', 'kind'],
      registers,
    });
    this.#generation = new Histogram({
      name: 'tmoe_generation_seconds',
      help: 'Seconds a model was at work on one reply.',
      labelNames: ['model'],
      buckets: [0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64],
      registers,
    });
    this.#routing = new Counter({
      name: 'tmoe_expert_share_total',
      help: 'Sum over generated replies of the share of visits each expert received.',
      labelNames: ['model', 'expert'],
      registers,
    });
    this.#aborted = new Counter({
      name: 'tmoe_aborted_replies_total',
      help: 'Replies that ended because the client went away.',
      registers,
    });
    new Gauge({
      name: 'tmoe_queue_running',
      help: 'Replies being made now.',
      registers,
      collect() {
        this.set(queue.running);
      },
    });
    new Gauge({
      name: 'tmoe_queue_waiting',
      help: 'Requests waiting for a place now.',
      registers,
      collect() {
        this.set(queue.waiting);
      },
    });
  }

  /** Counts one HTTP response. `route` is the route's pattern, never the path that was asked for. */
  request(route: string, method: string, status: number, seconds: number): void {
    this.#requests.inc({ route, method, status: String(status) });
    this.#seconds.observe({ route }, seconds);
  }

  /** Counts one finished chat reply. */
  reply(measure: ReplyMeasure): void {
    const { model } = measure;
    this.#cache.inc({ result: measure.cache });
    this.#safety.inc({ action: measure.safetyAction });
    if (measure.generationSeconds === undefined) return;
    this.#tokens.inc({ model, kind: 'prompt' }, measure.promptTokens);
    this.#tokens.inc({ model, kind: 'completion' }, measure.completionTokens);
    this.#generation.observe({ model }, measure.generationSeconds);
    for (const [expert, share] of Object.entries(measure.routing)) this.#routing.inc({ model, expert }, share);
  }

  /** Counts one reply whose client went away before it ended. */
  aborted(): void {
    this.#aborted.inc();
  }
}
