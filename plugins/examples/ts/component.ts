// Connects plugin.ts to the host: implements the exports of wit/transform.wit.

import { type Level, write } from 'posthaste:transform/log@0.1.0';
import type { Event, Outcome } from 'posthaste:transform/types@0.1.0';
import * as plugin from './plugin.js';

// QuickJS has no console. This one writes to the attempt's log.
const text = (part: unknown): string => (typeof part === 'string' ? part : JSON.stringify(part));
const line = (level: Level) => (...parts: unknown[]) => write(level, parts.map(text).join(' '));
globalThis.console = {
  debug: line('debug'),
  log: line('info'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
};

export const handler = {
  checkConfig: (config: string): void => plugin.checkConfig(JSON.parse(config)),
  transform: (event: Event, config: string): Outcome => plugin.transform(event, JSON.parse(config)),
};
