// What code written for Node.js or a browser expects, as far as a pure function can have it.

import { write } from 'posthaste:transform/log@0.1.0';
import { NO_RANDOMNESS, without } from './absent.js';

const become = (name, value) => {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
};

// Evaluated when they are first used: their objects would make every instance larger, and slower to start.
const lazy = [
  [['crypto'], () => require('./crypto.js')],
  [['structuredClone'], () => ({ structuredClone: require('core-js-pure/actual/structured-clone') })],
  [['TextDecoder', 'TextEncoder'], () => require('./text.js')],
  [['URL'], () => ({ URL: require('core-js-pure/actual/url') })],
  [['URLSearchParams'], () => ({ URLSearchParams: require('core-js-pure/actual/url-search-params') })],
];

for (const [names, load] of lazy) {
  const replace = () => {
    // Libraries look for these names in their turn.
    for (const name of names) become(name, undefined);
    const { random } = Math;
    // core-js makes names with it; a constant keeps them the same at every attempt.
    Math.random = () => 0.5;
    const values = load();
    Math.random = random;
    for (const name of names) become(name, values[name]);
  };
  for (const name of names) {
    Object.defineProperty(globalThis, name, {
      configurable: true,
      enumerable: false,
      get() {
        replace();
        return globalThis[name];
      },
      set: (value) => become(name, value),
    });
  }
}

const define = (values) => {
  for (const [name, value] of Object.entries(values)) become(name, value);
};

/** Returns the text of a value in a log line; whatever the value is, it throws nothing. */
const shown = (value) => {
  try {
    if (typeof value === 'string') return value;
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (typeof value === 'function') return `[function ${value.name}]`;
    return JSON.stringify(value) ?? String(value);
  } catch {
    return `[${typeof value}]`;
  }
};

/** Fills `%s`, `%j` and their kin in the first part with those that follow, as Node.js does. */
const formatted = (parts) => {
  const [format, ...rest] = parts;
  if (typeof format !== 'string') return parts.map(shown);
  const filled = format.replace(/%[sdifjoOc%]/g, (place) => {
    if (place === '%%') return '%';
    if (rest.length === 0) return place;
    const value = rest.shift();
    return place === '%c' ? '' : shown(value);
  });
  return [filled, ...rest.map(shown)];
};

const line = (level) => (...parts) => write(level, formatted(parts).join(' '));
const nothing = () => {};

/** `Date` without a clock: the same event must give the same message at every attempt. */
const NO_CLOCK = "a transform has no clock: use the event's time, `new Date(event.occurredAt)`";
const NativeDate = Date;
const PureDate = new Proxy(NativeDate, {
  apply: without(NO_CLOCK),
  construct(target, args, newTarget) {
    if (args.length === 0) throw new Error(NO_CLOCK);
    return Reflect.construct(target, args, newTarget === PureDate ? target : newTarget);
  },
});
NativeDate.now = without(NO_CLOCK);
NativeDate.prototype.constructor = PureDate;
Math.random = without(NO_RANDOMNESS);
delete globalThis.performance;

const NO_WAITING = 'a transform is one call, and has nothing to wait for';
const NO_NETWORK = 'a transform has no network';

const modules = {
  crypto: () => globalThis.crypto,
  url: () => ({ URL: globalThis.URL, URLSearchParams: globalThis.URLSearchParams }),
  util: () => ({ TextDecoder: globalThis.TextDecoder, TextEncoder: globalThis.TextEncoder }),
};

define({
  console: {
    debug: line('debug'),
    log: line('info'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    trace: line('debug'),
    dir: line('info'),
    table: line('info'),
    assert: (holds, ...parts) => holds || write('error', ['assertion failed', ...formatted(parts)].join(' ')),
    group: nothing,
    groupEnd: nothing,
    time: nothing,
    timeEnd: nothing,
    count: nothing,
  },
  Date: PureDate,
  setTimeout: without(NO_WAITING),
  setInterval: without(NO_WAITING),
  setImmediate: without(NO_WAITING),
  queueMicrotask: without(NO_WAITING),
  clearTimeout: nothing,
  clearInterval: nothing,
  fetch: without(NO_NETWORK),
  require(name) {
    const module = modules[String(name).replace(/^node:/, '')];
    if (module === undefined) throw new Error(`a transform cannot require \`${name}\`: there are ${Object.keys(modules).join(', ')}`);
    return module();
  },
});
