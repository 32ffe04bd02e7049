import { render } from 'preact';
import { App } from './app.js';
import { applyTheme, loadSettings } from './settings.js';
import './style.css';

applyTheme(loadSettings().theme);
render(<App />, document.getElementById('app') as HTMLElement);
