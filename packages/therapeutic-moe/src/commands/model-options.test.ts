import { expect, it } from 'vitest';
import { readAdapters } from './model-options.js';

it('reads one folder to merge, or any number by name', () => {
  expect(readAdapters(['--port', '0'])).toEqual({});
  expect(readAdapters(['--adapter', './a=b'])).toEqual({ adapter: './a=b' });
  expect(readAdapters(['--adapter=calm=/x', '--log', '--adapter', 'warm.v2=/y=z'])).toEqual({
    adapters: { calm: '/x', 'warm.v2': '/y=z' },
  });
});

it('refuses adapters that nobody could tell apart', () => {
  expect(() => readAdapters(['--adapter', '/x', '--adapter', '/y'])).toThrow('2 folders cannot be merged into one');
  expect(() => readAdapters(['--adapter', 'calm=/x', '--adapter', '/y'])).toThrow('--adapter /y has no name');
  expect(() => readAdapters(['--adapter', 'calm=/x', '--adapter', 'calm=/y'])).toThrow("the name 'calm' comes twice");
});
