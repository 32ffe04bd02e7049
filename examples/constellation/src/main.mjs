// usage: node src/main.mjs [--steps 200] [--data FILE.jsonl] [--output FOLDER] [--backend auto]
// (build the workspace first: npm run setup && npm run build)
import { readOptions } from '@therapeutic-moe/example-train-a-preset';
import { run } from './constellation.mjs';

await run(readOptions('constellation', process.argv.slice(2)));
