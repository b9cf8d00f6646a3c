// Connects plugin.js to the host: implements the exports of wit/transform.wit.

import { write } from 'posthaste:transform/log@0.1.0';
import * as plugin from './plugin.js';

// QuickJS has no console. This one writes to the attempt's log.
const text = (part) => (typeof part === 'string' ? part : JSON.stringify(part));
const line = (level) => (...parts) => write(level, parts.map(text).join(' '));
globalThis.console = {
  debug: line('debug'),
  log: line('info'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
};

export const handler = {
  checkConfig: (config) => plugin.checkConfig(JSON.parse(config)),
  transform: (event, config) => plugin.transform(event, JSON.parse(config)),
};
