#!/usr/bin/env node
import('../dist/cli.js').catch((error) => {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  console.error(
    `therapeutic-moe: not built, or a dependency is missing (${error.message}). In the repository run: npm run setup && npm run build`,
  );
  process.exit(1);
});
