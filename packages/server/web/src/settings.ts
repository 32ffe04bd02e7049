/** What a person can choose; kept in this browser. The conversation and the API key never are. */
export interface Settings {
  temperature: number;
  maxTokens: number;
  /** Absent: every reply is drawn afresh, and no reply is cached. */
  seed?: number;
  theme: 'system' | 'light' | 'dark';
}

export const defaultSettings: Settings = { temperature: 0.4, maxTokens: 160, seed: 7, theme: 'system' };

const place = 'therapeutic-moe-settings';

export function loadSettings(): Settings {
  try {
    const kept = JSON.parse(localStorage.getItem(place) ?? 'null') as Partial<Settings> | null;
    return kept === null ? defaultSettings : { ...defaultSettings, seed: undefined, ...kept };
  } catch {
    return defaultSettings;
  }
}

export function saveSettings(settings: Settings): void {
  try {
    localStorage.setItem(place, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing still works; the settings last until the page closes.
  }
}

/** Puts the theme on the document; `system` follows the device. */
export function applyTheme(theme: Settings['theme']): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
