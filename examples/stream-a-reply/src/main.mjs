// usage: node src/main.mjs "your question"     (build the workspace first: npm run setup && npm run build)
import { loadModel } from 'therapeutic-moe';

const question = process.argv[2] ?? 'How can I calm down before an exam?';
const model = await loadModel(undefined, { logger: console });

for await (const text of model.stream(question, {
  maxTokens: 80,
  temperature: 0.6,
  topP: 0.9,
  repetitionPenalty: 1.15,
  seed: 7,
})) {
  process.stdout.write(text);
}
console.log('\n');
for (const [domain, share] of Object.entries(await model.routing(question))) {
  console.log(`${domain.padEnd(20)} ${'#'.repeat(Math.round(share * 40))} ${(100 * share).toFixed(0)} %`);
}
model.dispose();
