import { useEffect, useRef } from 'preact/hooks';
import { Icon } from './icon.js';
import { defaultSettings, type Settings } from './settings.js';

interface Props {
  open: boolean;
  onClose(): void;
  settings: Settings;
  onChange(part: Partial<Settings>): void;
  models: readonly string[];
  model: string;
  onModel(model: string): void;
  needsKey: boolean;
  apiKey: string;
  onApiKey(key: string): void;
}

export function SettingsDialog(props: Props) {
  const { open, onClose, settings, onChange: change } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && dialog.current?.open === false) dialog.current.showModal();
  }, [open]);
  const close = () => dialog.current?.close();

  return (
    <dialog ref={dialog} class="settings" aria-labelledby="settings-title" onClose={onClose}>
      <form method="dialog">
        <div class="settings-head">
          <h2 id="settings-title">Settings</h2>
          <button type="button" class="quiet" onClick={close} aria-label="Close settings">
            <Icon name="close" />
          </button>
        </div>
        {props.models.length > 1 && (
          <label>
            <span>Model</span>
            <select value={props.model} onChange={(event) => props.onModel(event.currentTarget.value)}>
              {props.models.map((id) => (
                <option key={id} value={id}>
                  {id}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          <span>
            Temperature <span class="value">{settings.temperature.toFixed(1)}</span>
          </span>
          <input
            type="range"
            min="0"
            max="1.5"
            step="0.1"
            value={settings.temperature}
            onInput={(event) => change({ temperature: event.currentTarget.valueAsNumber })}
          />
          <small>0 always picks the likeliest word; higher is more varied.</small>
        </label>
        <label>
          <span>Longest reply, in tokens</span>
          <input
            type="number"
            min="1"
            max="4096"
            required
            value={settings.maxTokens}
            onChange={(event) =>
              change({ maxTokens: wholeNumber(event.currentTarget.value, 1) ?? defaultSettings.maxTokens })
            }
          />
        </label>
        <label>
          <span>Seed</span>
          <input
            type="number"
            step="1"
            placeholder="none"
            value={settings.seed ?? ''}
            onChange={(event) => change({ seed: wholeNumber(event.currentTarget.value, 0) })}
          />
          <small>
            With a seed the same conversation gets the same reply, so it can be cached. Empty draws anew each time.
          </small>
        </label>
        <fieldset>
          <legend>Appearance</legend>
          <div class="choices">
            {(['system', 'light', 'dark'] as const).map((theme) => (
              <label key={theme}>
                <input
                  type="radio"
                  name="theme"
                  checked={settings.theme === theme}
                  onChange={() => change({ theme })}
                />
                <span class="choice">
                  {theme === 'system' ? 'As the device' : theme === 'light' ? 'Light' : 'Dark'}
                </span>
              </label>
            ))}
          </div>
        </fieldset>
        {props.needsKey && (
          <label>
            <span>API key</span>
            <input
              type="password"
              autocomplete="off"
              value={props.apiKey}
              onChange={(event) => props.onApiKey(event.currentTarget.value.trim())}
            />
            <small>Kept until this page closes, never stored.</small>
          </label>
        )}
        <p class="about">Settings stay in this browser. Conversations are not stored by this page.</p>
      </form>
    </dialog>
  );
}

function wholeNumber(text: string, least: number): number | undefined {
  const value = Number(text);
  return text.trim() !== '' && Number.isSafeInteger(value) && value >= least ? value : undefined;
}
