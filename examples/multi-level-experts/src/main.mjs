// usage: node src/main.mjs [--steps 200] [--data FILE.jsonl] [--output FOLDER] [--backend auto]
// (build the workspace first: npm run setup && npm run build)
import { readOptions } from '@therapeutic-moe/example-train-a-preset';
import { run } from './multi-level-experts.mjs';

await run(readOptions('multi-level-experts', process.argv.slice(2)));
