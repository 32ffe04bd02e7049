import type { Context } from 'hono';
import type { ServerApp } from './create-app.js';
import type { PageFile, PageFiles } from './web-page.js';

const notBuilt = `The chat page has not been built. Run the package's build ("pnpm --filter @therapeutic-moe/server build"),
then start the server again. The API works without it: POST /v1/chat/completions.
`;

/** Adds the chat page at `/` and its files. The page is read once, at the first request. */
export function servePage(app: ServerApp, read: () => Promise<PageFiles>): void {
  let reading: Promise<PageFiles> | undefined;
  const find = async (path: string) => {
    reading ??= read();
    return (await reading).get(path);
  };

  app.get('/', async (context) => {
    const page = await find('/');
    return page === undefined ? context.text(notBuilt, 503) : respond(context, page, 'no-cache');
  });
  app.get('/assets/:name', async (context) => {
    const file = await find(`/assets/${context.req.param('name')}`);
    return file === undefined ? context.notFound() : respond(context, file, 'public, max-age=31536000, immutable');
  });
  app.get('/icon.svg', async (context) => {
    const file = await find('/icon.svg');
    return file === undefined ? context.notFound() : respond(context, file, 'public, max-age=3600');
  });
}

function respond(context: Context, file: PageFile, cacheControl: string): Response {
  return context.body(file.bytes, 200, { 'content-type': file.contentType, 'cache-control': cacheControl });
}
