// Runs one of the repository's tools with Node 22 and pnpm on the path: `node scripts/tool.mjs turbo run build`.
import { run } from './toolchain.mjs';

const [command, ...commandArguments] = process.argv.slice(2);
const { code } = await run(command, commandArguments);
process.exitCode = code;
