import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Icon } from './icon.js';

interface Props {
  input: RefObject<HTMLTextAreaElement | null>;
  busy: boolean;
  onSend(question: string): void;
  onStop(): void;
}

/** The message field: Enter sends, Shift+Enter breaks the line, Escape stops a reply. */
export function Composer({ input, busy, onSend, onStop }: Props) {
  const [draft, setDraft] = useState('');

  useEffect(() => {
    input.current?.focus();
  }, [input]);

  useEffect(() => {
    const stopOnEscape = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && busy && document.querySelector('dialog[open]') === null) onStop();
    };
    window.addEventListener('keydown', stopOnEscape);
    return () => window.removeEventListener('keydown', stopOnEscape);
  }, [busy, onStop]);

  const send = () => {
    if (busy || draft.trim() === '') return;
    onSend(draft.trim());
    setDraft('');
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="column">
        <div class="field">
          <label class="said" for="message">
            Message
          </label>
          <div class="grow" data-text={`${draft} `}>
            <textarea
              id="message"
              ref={input}
              rows={1}
              value={draft}
              placeholder="Write a message"
              autocomplete="off"
              onInput={(event) => setDraft(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
                event.preventDefault();
                send();
              }}
            />
          </div>
          {busy ? (
            <button type="button" class="round" onClick={onStop} aria-label="Stop the reply">
              <Icon name="stop" />
            </button>
          ) : (
            <button type="submit" class="round" disabled={draft.trim() === ''} aria-label="Send">
              <Icon name="send" />
            </button>
          )}
        </div>
        <p class="hint">
          In danger now? Call your local emergency number.{' '}
          <span class="keys">Enter sends, Shift+Enter starts a new line.</span>
        </p>
      </div>
    </form>
  );
}
