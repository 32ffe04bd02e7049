const names: Record<string, string> = {
  psychology: 'Psychology',
  mental_health: 'Mental health',
  bias_detection: 'Bias detection',
  general_therapeutic: 'General therapeutic',
};
const order = Object.keys(names);

/** The experts by colour, before there is anything to measure. */
export function ExpertNames() {
  return (
    <ul class="legend" aria-label="The four experts">
      {order.map((name, index) => (
        <li key={name}>
          <i class={`dot expert-${index}`} aria-hidden="true" />
          {label(name)}
        </li>
      ))}
    </ul>
  );
}

/** How much each expert took part in a reply: one stacked bar, and the same in words. */
export function ExpertShares({ routing }: { routing: Record<string, number> }) {
  const shares = Object.entries(routing).sort(([a], [b]) => place(a) - place(b));
  if (shares.length === 0) return null;
  const total = shares.reduce((sum, [, share]) => sum + share, 0) || 1;
  const words = shares.map(([name, share]) => `${label(name)} ${percent(share)}`).join(', ');
  return (
    <figure class="shares">
      <div class="bar" role="img" aria-label={`Experts' shares of this reply: ${words}`}>
        {shares.map(([name, share], index) => (
          <span key={name} class={`part expert-${index % 8}`} style={{ width: `${(100 * share) / total}%` }} />
        ))}
      </div>
      <figcaption>
        <ul class="legend">
          {shares.map(([name, share], index) => (
            <li key={name}>
              <i class={`dot expert-${index % 8}`} aria-hidden="true" />
              {label(name)} <b>{percent(share)}</b>
            </li>
          ))}
        </ul>
      </figcaption>
    </figure>
  );
}

function place(name: string): number {
  const known = order.indexOf(name);
  return known < 0 ? order.length : known;
}

function label(name: string): string {
  return names[name] ?? name.replaceAll('_', ' ');
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
