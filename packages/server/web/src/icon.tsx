const shapes = {
  plus: 'M12 5v14M5 12h14',
  sliders:
    'M4 7.5h8M17 7.5h3M4 16.5h3M12 16.5h8M12 7.5a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0M7 16.5a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M8 8h8v8H8z',
  close: 'M6 6l12 12M18 6L6 18',
  phone: 'M7 4h3l1.5 4.5L9.5 10a11 11 0 0 0 4.5 4.5l1.5-2L20 14v3a3 3 0 0 1-3 3A13 13 0 0 1 4 7a3 3 0 0 1 3-3z',
  globe: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18',
};

/** A line drawing; the words beside it carry the meaning, so readers of the page skip it. */
export function Icon({ name }: { name: keyof typeof shapes }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={shapes[name]} />
    </svg>
  );
}
