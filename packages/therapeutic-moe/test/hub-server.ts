import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A file that the server lists and serves; what it lists may differ. */
export interface ServedFile {
  readonly content: Buffer;
  /** Kept in large file storage, so that SHA-256 is listed. */
  readonly lfs?: boolean;
  /** What is served in its place. */
  readonly served?: Buffer;
}

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** A local stand-in for the hub's routes: revision, tree, and resolve with ranges. */
export class HubServer {
  /** Method, address and range of every request for a file. */
  readonly asked: string[] = [];
  /** The connection breaks once after so many bytes of a body. */
  breakAfter: number | undefined;
  /** Every body breaks off after so many bytes. */
  breakAlways: number | undefined;
  /** Only this token may read. */
  token: string | undefined;
  private readonly server = createServer((request, response) => this.answer(request, response));

  constructor(
    readonly repo: string,
    readonly files: Record<string, ServedFile>,
  ) {}

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return this.address;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url!, 'http://hub').pathname;
    const prefix = `/${this.repo}/resolve/${COMMIT}/`;
    const file = path.startsWith(prefix) ? this.files[path.slice(prefix.length)] : undefined;
    if (this.token && request.headers.authorization !== `Bearer ${this.token}`) {
      json(response, 401, { error: 'Invalid username or password.' });
    } else if (path === `/api/models/${this.repo}/revision/main`) {
      json(response, 200, { _id: '1', id: this.repo, sha: COMMIT });
    } else if (path === `/api/models/${this.repo}/tree/${COMMIT}`) {
      json(response, 200, this.listing());
    } else if (file) {
      this.asked.push(`${path.slice(prefix.length)} ${request.headers.range ?? 'whole'}`);
      this.serve(file.served ?? file.content, request, response);
    } else json(response, 404, { error: 'Repository not found' });
  }

  private listing(): object[] {
    return Object.entries(this.files).map(([path, { content, lfs }]) => ({
      type: 'file',
      path,
      size: content.length,
      oid: gitHash(content),
      ...(lfs && {
        lfs: { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 134 },
      }),
    }));
  }

  private serve(content: Buffer, request: IncomingMessage, response: ServerResponse): void {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(first ?? 0);
    const body = content.subarray(start, last ? Number(last) + 1 : undefined);
    response.writeHead(first === undefined ? 200 : 206, {
      etag: '"1"',
      'content-length': body.length,
      ...(first !== undefined && { 'content-range': `bytes ${start}-${start + body.length - 1}/${content.length}` }),
    });
    const cut = this.breakAlways ?? this.breakAfter;
    if (cut === undefined || body.length <= cut) {
      response.end(body);
      return;
    }
    this.breakAfter = undefined;
    response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
  }
}

function json(response: ServerResponse, status: number, content: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}

function gitHash(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}
