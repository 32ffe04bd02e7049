import { useEffect, useRef, useState } from 'preact/hooks';
import { listModels, ServerRefusal } from './chat-client.js';
import { Composer } from './composer.js';
import { ExchangeView } from './exchange-view.js';
import { PageHeader } from './page-header.js';
import { applyTheme, loadSettings, saveSettings } from './settings.js';
import { SettingsDialog } from './settings-dialog.js';
import { useConversation } from './use-conversation.js';
import { useFollowBottom } from './use-follow-bottom.js';
import { Welcome } from './welcome.js';

export function App() {
  const [settings, setSettings] = useState(loadSettings);
  const [apiKey, setApiKey] = useState('');
  const [needsKey, setNeedsKey] = useState(false);
  const [models, setModels] = useState<readonly string[]>([]);
  const [model, setModel] = useState('');
  const [settingsOpen, setSettingsOpen] = useState(false);
  const input = useRef<HTMLTextAreaElement>(null);
  const conversation = useConversation(model, settings, apiKey);
  useFollowBottom(conversation.exchanges);

  useEffect(() => {
    listModels(apiKey)
      .then((found) => {
        setModels(found);
        setModel((chosen) => (found.includes(chosen) ? chosen : (found[0] ?? '')));
        setNeedsKey(false);
      })
      .catch((error: unknown) => setNeedsKey(error instanceof ServerRefusal && error.status === 401));
  }, [apiKey]);

  useEffect(() => {
    saveSettings(settings);
    applyTheme(settings.theme);
  }, [settings]);

  const startAgain = () => {
    conversation.clear();
    input.current?.focus();
  };

  return (
    <>
      <a class="skip" href="#message">
        Skip to the message field
      </a>
      <PageHeader
        onNew={startAgain}
        canStartAgain={conversation.exchanges.length > 0}
        onSettings={() => setSettingsOpen(true)}
      />
      <main class="column">
        {needsKey && (
          <p class="note" role="status">
            This server asks for an API key. Enter it under{' '}
            <button type="button" class="link" onClick={() => setSettingsOpen(true)}>
              Settings
            </button>
            .
          </p>
        )}
        {conversation.exchanges.length === 0 ? (
          <Welcome onChoose={conversation.send} />
        ) : (
          <ol class="exchanges" aria-label="Conversation">
            {conversation.exchanges.map((exchange) => (
              <ExchangeView key={exchange.id} exchange={exchange} />
            ))}
          </ol>
        )}
      </main>
      <Composer input={input} busy={conversation.busy} onSend={conversation.send} onStop={conversation.stop} />
      <SettingsDialog
        open={settingsOpen}
        onClose={() => setSettingsOpen(false)}
        settings={settings}
        onChange={(part) => setSettings((now) => ({ ...now, ...part }))}
        models={models}
        model={model}
        onModel={setModel}
        needsKey={needsKey || apiKey !== ''}
        apiKey={apiKey}
        onApiKey={setApiKey}
      />
    </>
  );
}
