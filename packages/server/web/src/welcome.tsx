import { ExpertNames } from './expert-shares.js';

const starters = [
  'I keep waking at four in the morning and my thoughts start to race.',
  'How does an anxiety disorder differ from everyday worry?',
  'How can I notice my own bias before it shapes a decision?',
  'What happens when a habit forms, and how is one changed?',
];

export function Welcome({ onChoose }: { onChoose(question: string): void }) {
  return (
    <section class="welcome" aria-labelledby="welcome-title">
      <h2 id="welcome-title">What would you like to talk through?</h2>
      <p>
        A small language model answers here. Four experts share the work, and under every reply you see how much each of
        them took part. It can be wrong, and it is no substitute for a person who knows you.
      </p>
      <ExpertNames />
      <ul class="starters">
        {starters.map((starter) => (
          <li key={starter}>
            <button type="button" onClick={() => onChoose(starter)}>
              {starter}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
