// usage: node src/main.mjs [--data DIR] [--steps 60] [--windows 16] [--output FOLDER]
//        [--backend auto] [--model FOLDER]
// (build the workspace first: npm run setup && npm run build)
import { run } from './longer-context.mjs';
import { readOptions } from './options.mjs';

await run(readOptions(process.argv.slice(2)));
