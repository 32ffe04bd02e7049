import { join } from 'node:path';
import { defineCommand } from 'citty';
import { createDownloadProgress } from '../pull/download-progress.js';
import { pullModel } from '../pull/pull-model.js';

/** Brings a checkpoint or an adapter from the Hugging Face hub. */
export const pullCommand = defineCommand({
  meta: { name: 'pull', description: 'Download a model or an adapter from the Hugging Face hub.' },
  args: {
    repo: { type: 'positional', description: 'OWNER/NAME of the repository', required: true },
    revision: { type: 'string', description: 'branch, tag or commit', default: 'main' },
    output: { type: 'string', description: 'folder to write; default checkpoints/OWNER/NAME', valueHint: 'DIR' },
    token: { type: 'string', description: 'access token; default HF_TOKEN, which no list of processes shows' },
    json: { type: 'boolean', description: 'print one JSON object at the end' },
  },
  async run({ args }) {
    const repo = readRepo(args.repo);
    const token = args.token ?? process.env.HF_TOKEN;
    const place = {
      repo,
      revision: args.revision,
      hubUrl: (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, ''),
      ...(token && { accessToken: token }),
    };
    const pulled = await pullModel(place, args.output ?? join('checkpoints', repo), createDownloadProgress());
    if (args.json) console.log(JSON.stringify(pulled));
    else console.log(`${pulled.directory}: ${pulled.files.length} files of ${repo} at ${pulled.commit}`);
  },
});

/** The name becomes a part of an address and of a path. */
function readRepo(text: string): string {
  const parts = text.split('/');
  if (parts.length === 2 && parts.every((part) => /^[\w.-]+$/.test(part) && !/^\.+$/.test(part))) return text;
  throw new Error(`REPO must be OWNER/NAME, such as LatitudeGames/Wayfarer-2-12B, got '${text}'.`);
}
