// usage: start a server (npm start in the repository), then: node src/main.mjs ["your question"]
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8787/v1', apiKey: 'none' });
const stream = await client.chat.completions.create({
  model: 'therapeutic-moe-demo',
  messages: [{ role: 'user', content: process.argv[2] ?? 'What is cognitive dissonance?' }],
  stream: true,
  seed: 7,
});
let report;
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? '');
  report = chunk.tmoe ?? report; // this server's own field: cache, safety, routing
}
console.log('\n', report);
