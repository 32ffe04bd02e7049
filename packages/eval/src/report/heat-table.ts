import { escapeHtml, formatPercent } from './text.js';

/** Shares with a name for each row and column. */
export interface HeatTable {
  readonly caption: string;
  readonly rowLabel: string;
  readonly rows: readonly { readonly name: string; readonly hint: string }[];
  readonly columns: readonly string[];
  /** `values[row][column]`, each in [0, 1]. */
  readonly values: readonly (readonly number[])[];
}

const STRONGEST_TINT = 72; // per cent of the accent; text stays readable on it in both colour schemes

/** More columns than this are drawn as narrow cells without figures; the figure is in the cell's title. */
const WIDE_COLUMNS = 10;

/** A table whose cells are the stronger tinted the larger their share. A screen reader reads the figures. */
export function renderHeatTable({ caption, rowLabel, rows, columns, values }: HeatTable): string {
  const narrow = columns.length > WIDE_COLUMNS;
  const largest = Math.max(...values.flat(), Number.MIN_VALUE);
  const head = columns.map(
    (name, i) => `<th scope="col" title="${escapeHtml(name)}">${narrow ? i : escapeHtml(name)}</th>`,
  );
  const body = rows.map((row, r) => {
    const cells = columns.map((column, c) => {
      const value = values[r]?.[c] ?? 0;
      const tint = Math.round((Math.max(0, value) / largest) * STRONGEST_TINT);
      const title = `${row.name}, ${column}: ${formatPercent(value)}`;
      const figure = narrow ? `<span class="unseen">${formatPercent(value)}</span>` : formatPercent(value);
      return `<td style="--tint:${tint}%" title="${escapeHtml(title)}">${figure}</td>`;
    });
    return `<tr><th scope="row">${escapeHtml(row.name)}<span class="hint">${escapeHtml(row.hint)}</span></th>${cells.join('')}</tr>`;
  });
  return `<figure><figcaption>${escapeHtml(caption)}</figcaption><div class="scroll"><table class="heat${narrow ? ' narrow' : ''}"><thead><tr><th scope="col"><span class="hint">${escapeHtml(rowLabel)}</span></th>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div></figure>`;
}
