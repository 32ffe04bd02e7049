#!/usr/bin/env node
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 12)) {
  console.error(
    `therapeutic-moe: needs Node 22.12 or later, this is ${process.version}; install a newer one from https://nodejs.org.`,
  );
  process.exit(1);
}
import('../dist/cli.js').catch((error) => {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  console.error(
    `therapeutic-moe: not built, or a dependency is missing (${error.message}). In the repository run: npm run setup && npm run build`,
  );
  process.exit(1);
});
