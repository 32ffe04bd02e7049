import { Icon } from './icon.js';

interface Props {
  canStartAgain: boolean;
  onNew(): void;
  onSettings(): void;
}

export function PageHeader({ canStartAgain, onNew, onSettings }: Props) {
  return (
    <header class="header">
      <div class="header-row">
        <img class="mark" src="/icon.svg" alt="" width="34" height="34" />
        <div class="title">
          <h1>Therapeutic MoE</h1>
          <p>
            A demonstration, not care.{' '}
            <a href="https://findahelpline.com" target="_blank" rel="noopener noreferrer">
              In crisis? Find a helpline
            </a>
          </p>
        </div>
        <button type="button" class="quiet" onClick={onNew} disabled={!canStartAgain} aria-label="New conversation">
          <Icon name="plus" />
          <span>New</span>
        </button>
        <button type="button" class="quiet" onClick={onSettings} aria-label="Settings" aria-haspopup="dialog">
          <Icon name="sliders" />
          <span>Settings</span>
        </button>
      </div>
    </header>
  );
}
