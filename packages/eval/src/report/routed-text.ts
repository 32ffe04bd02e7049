import { layerNumber, type RoutedPassage, type RoutingReport, type Visit } from '../routing-report.js';
import { escapeHtml } from './text.js';

/**
 * Texts whose tokens are coloured by the expert that counted most. Every token carries one colour per layer, and a radio
 * button chooses which of them is shown, without a script.
 */
export function renderPassages(report: RoutingReport): string {
  const { passages, experts, layers } = report;
  if (passages.length === 0) return '';
  const choice = layers.map(
    (_, layer) =>
      `<label><input type="radio" name="layer" id="layer-${layer}"${layer === 0 ? ' checked' : ''}>layer ${layerNumber(report, layer)}</label>`,
  );
  const shown = layers.map(
    (_, layer) => `main:has(#layer-${layer}:checked) .token{--shown:var(--l${layer});--strength:var(--w${layer})}`,
  );
  const legend = experts.map((name, e) => `<span style="--shown:var(--e${e})">${escapeHtml(name)}</span>`);
  return `<section><h2>Tokens by expert</h2><p>Each token has the colour of the expert that counts most for it, the stronger the more it counts. Its title names all that it visits.</p><style>${shown.join('')}</style>
<fieldset class="layers"><legend class="unseen">Layer that colours the tokens</legend>${choice.join('')}</fieldset><p class="experts">${legend.join('')}</p>${passages.map((passage) => renderPassage(passage, report)).join('')}</section>`;
}

function renderPassage({ title, tokens }: RoutedPassage, report: RoutingReport): string {
  const { experts } = report;
  const spans = tokens.map(({ text, visits }) => {
    const colours = visits.map((chosen, layer) => {
      const best = strongest(chosen);
      return `--l${layer}:var(--e${best.expert});--w${layer}:${strength(best, chosen)}%`;
    });
    const told = visits.map((chosen, layer) => `layer ${layerNumber(report, layer)}: ${describe(chosen, experts)}`);
    return `<span class="token" style="${colours.join(';')}" title="${escapeHtml(told.join('\n'))}">${escapeHtml(text)}</span>`;
  });
  return `<figure><figcaption>${escapeHtml(title)}<span class="unseen">. ${escapeHtml(tell(tokens, report))}</span></figcaption><p class="passage">${spans.join('')}</p></figure>`;
}

/** What the colours show, in words. */
function tell(tokens: RoutedPassage['tokens'], report: RoutingReport): string {
  const { experts } = report;
  const layers = tokens[0]?.visits.map((_, layer) => {
    const best = Map.groupBy(tokens, ({ visits }) => strongest(visits[layer]!).expert);
    const counts = [...best].sort((a, b) => b[1].length - a[1].length);
    return `Layer ${layerNumber(report, layer)}: ${counts.map(([expert, { length }]) => `${experts[expert] ?? expert} ${length}`).join(', ')} of ${tokens.length} tokens.`;
  });
  return layers?.join(' ') ?? '';
}

const strongest = (chosen: readonly Visit[]): Visit => chosen.reduce((a, b) => (b.weight > a.weight ? b : a));

/** From 30 % of the colour where all visited experts count alike to 90 % where one counts alone. */
function strength(best: Visit, chosen: readonly Visit[]): number {
  const share = best.weight / chosen.reduce((sum, { weight }) => sum + weight, 0);
  const even = 1 / chosen.length;
  return Math.round(chosen.length === 1 || !Number.isFinite(share) ? 60 : 30 + (60 * (share - even)) / (1 - even));
}

function describe(chosen: readonly Visit[], experts: readonly string[]): string {
  return chosen.map(({ expert, weight }) => `${experts[expert] ?? expert} ${weight.toFixed(2)}`).join(', ');
}

/** Colours of the line chart, one per series; the few experts that it draws have the same ones here. */
const LINE_COLOURS = 6;

/** One colour per expert. Beyond the line chart's, hues of neighbours lie far apart and lightness alternates. */
export function expertColours(count: number): string {
  const colours = Array.from({ length: count }, (_, e) => {
    if (count <= LINE_COLOURS) return `--e${e}:var(--s${e})`;
    const hue = Math.round((e * 360 * 0.618034 + 180) % 360);
    return `--e${e}:hsl(${hue} 62% ${e % 2 === 0 ? 46 : 58}%)`;
  });
  return `:root{${colours.join(';')}}`;
}

/** What these parts add to the report's style sheet. */
export const routedTextStyle = `
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.heat td{font-variant-numeric:tabular-nums}
.heat.narrow td,.heat.narrow thead th{padding:8px 0;text-align:center;font-size:11px}.heat.narrow th[scope=row],.heat.narrow thead th:first-child{width:130px;text-align:left;padding:6px 8px}
.heat td{position:relative}
.strip .heat.narrow td,.strip .heat.narrow th[scope=row]{padding:1px 8px;border-width:1px 0;white-space:nowrap}.strip .heat.narrow thead th:not(:first-child){font-size:0;padding:0}.strip .heat th .hint:empty{display:none}
.entropies{min-width:720px}.entropies thead th{vertical-align:bottom}.entropies thead .hint{display:block}.entropies td{padding-right:12px}.values.entropies th .hint{margin-left:0}
.layers{border:0;margin:0 0 10px;padding:0;display:flex;flex-wrap:wrap;gap:4px 16px}.layers label{display:inline-flex;gap:6px;align-items:center;cursor:pointer}.layers input{accent-color:var(--accent)}
.experts{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 6px;font-size:13px}.experts span{display:inline-flex;align-items:center;gap:6px}.experts span::before{content:"";width:12px;height:12px;border-radius:3px;background:var(--shown)}
.passage{line-height:1.9;white-space:pre-wrap;overflow-wrap:anywhere;margin:0}
.token{background:color-mix(in srgb,var(--shown) calc(var(--strength)*.6),transparent);border-bottom:2px solid var(--shown);border-radius:3px;padding:1px 0}
`;
