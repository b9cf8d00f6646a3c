// Finds the function in the user's code, calls it in the way of the product that it was written for, and reads its result.

import { failed, Refusal } from './failures.js';
import { Document } from './numbers.js';

/** What `drop(reason)` returns. */
class Drop {
  constructor(reason) {
    this.reason = String(reason ?? 'drop() was called');
  }
}

/** What `message(…)` returns. */
class Message {
  constructor(parts) {
    const { body, data, contentType, headers, ...others } = parts ?? {};
    const [unknown] = Object.keys(others);
    if (unknown !== undefined) throw new Error(`message: unknown field \`${unknown}\`; there are body, data, contentType and headers`);
    if ((body === undefined) === (data === undefined)) throw new Error('message: give either `body`, a string, or `data`, any JSON');
    Object.assign(this, { body, data, contentType, headers });
  }
}

const NO_HANDLER =
  'code: define `function transform(event, vars)`, or a function for Svix (`handler`), Convoy (`transform(payload)`) or Hookdeck (`addHandler("transform", …)`)';

/** The functions that the code has defined, as a part of the code: what `const` declares is visible only there. */
const DEFINED = "[typeof transform === 'function' ? transform : undefined, typeof handler === 'function' ? handler : undefined]";

/**
 * Evaluates the code and returns a function from the WIT's event to the WIT's outcome.
 *
 * Every event has an instance of its own, so what the code leaves in globals is gone with it.
 */
export const prepare = (code, vars) => {
  let added;
  Object.assign(globalThis, {
    vars,
    drop: (reason) => new Drop(reason),
    message: (parts) => new Message(parts),
    addHandler: (kind, handle) => {
      if (kind !== 'transform') throw new Error(`addHandler: a webhook calls the handler "transform", not "${kind}"`);
      added = handle;
    },
    process: { env: vars ?? {} },
  });
  // Not called by its name, which would let the code see what is local here.
  const evaluate = globalThis.eval;
  let defined;
  try {
    defined = evaluate(`${code}\n;${DEFINED}`);
  } catch (error) {
    throw failed(error, code);
  }
  const [transform, handler] = defined;
  if (added !== undefined) return (event) => hookdeck(added, event, vars);
  if (transform !== undefined) return isConvoys(transform) ? (event) => convoy(transform, event) : (event) => ours(transform, event, vars);
  if (handler !== undefined) return (event) => svix(handler, event);
  throw new Refusal(NO_HANDLER);
};

/** Convoy's function gets the payload, and its examples call it so. */
const isConvoys = (transform) => /^(?:function\s*\w*\s*\(\s*payload\s*[,)]|\(?\s*payload\s*[,)=])/.test(String(transform));

const ours = (transform, event, vars) => {
  const document = new Document(event.body);
  const given = {
    id: event.id,
    type: event.eventType,
    company: event.company,
    occurredAt: event.occurredAt,
    headers: Object.fromEntries(event.headers),
    data: document.value,
    body: event.body,
  };
  const result = finished(transform(given, vars), 'transform');
  if (result === undefined) {
    refuseForgottenReturn(document, event, 'transform', 'event.data');
    return { tag: 'pass' };
  }
  if (result === null) return { tag: 'drop', val: 'transform returned null' };
  if (result instanceof Drop) return { tag: 'drop', val: result.reason };
  if (!(result instanceof Message)) return replaced(jsonOf(document, result, 'transform'));
  const body = result.body ?? jsonOf(document, result.data, 'message');
  if (typeof body !== 'string') throw new Refusal('code: message: `body` must be a string; `data` may be any JSON');
  return replaced(body, headersOf(result.headers ?? {}), contentTypeOf(result.contentType));
};

const svix = (handler, event) => {
  const document = new Document(event.body);
  const headers = Object.fromEntries(event.headers);
  const webhook = { method: 'POST', url: undefined, headers, payload: document.value, eventType: event.eventType, cancel: false };
  const result = finished(handler(webhook), 'handler');
  if (result === null || typeof result !== 'object') throw new Refusal('code: handler must return the webhook: `return webhook`');
  if (result.cancel) return { tag: 'drop', val: 'handler set webhook.cancel' };
  refuseAnotherTarget(result.method !== 'POST' && 'method', result.url !== undefined && 'url');
  return sent(document, result.payload, result.headers, event, 'handler');
};

const convoy = (transform, event) => {
  const document = new Document(event.body);
  const result = finished(transform(document.value), 'transform');
  if (result === undefined) throw new Refusal('code: transform must return the payload: `return payload`');
  return replaced(jsonOf(document, result, 'transform'));
};

const hookdeck = (handle, event, vars) => {
  const document = new Document(event.body);
  const headers = Object.fromEntries(event.headers);
  const request = { headers, body: document.value, query: '', parsed_query: {}, path: '' };
  const context = { event_id: event.id, eventType: event.eventType, vars };
  const result = finished(handle(request, context), 'the handler');
  if (result === null || typeof result !== 'object') throw new Refusal('code: the handler must return the request: `return request`');
  const isSame = !result.query && !result.path && Object.keys(result.parsed_query ?? {}).length === 0;
  refuseAnotherTarget(!isSame && 'path or query');
  return sent(document, result.body, result.headers, event, 'the handler');
};

/** Returns the result of the user's function, unless nothing could wait for it. */
const finished = (result, name) => {
  if (typeof result?.then === 'function') throw new Refusal(`code: ${name} returned a promise, and a transform cannot wait: remove \`async\` and \`await\``);
  return result;
};

const refuseAnotherTarget = (...changed) => {
  const [what] = changed.filter(Boolean);
  if (what) throw new Refusal(`code: a transform cannot change the ${what} of the request: it is the webhook's`);
};

/** What is changed and not returned would be sent as it was: a field that the code removed, for example. */
const refuseForgottenReturn = (document, event, name, changed) => {
  if (JSON.stringify(document.value) !== JSON.stringify(JSON.parse(event.body))) {
    throw new Refusal(`code: ${name} changed ${changed} and returned nothing: \`return ${changed}\``);
  }
};

const jsonOf = (document, value, name) => {
  const json = document.json(value);
  if (json === undefined) throw new Refusal(`code: ${name} returned a ${typeof value}, which is not JSON`);
  return json;
};

/** Returns the outcome for a body and all headers of a changed request. */
const sent = (document, body, headers, event, name) => {
  const { contentType, others } = changedHeaders(event, headers ?? {});
  const text = typeof body === 'string' && contentType !== undefined ? body : jsonOf(document, body, name);
  return replaced(text, others, contentType);
};

const changedHeaders = (event, headers) => {
  const entries = headersOf(headers);
  const before = new Map(event.headers.map(([name, value]) => [name.toLowerCase(), value]));
  const now = new Map(entries.map(([name, value]) => [name.toLowerCase(), value]));
  const [removed] = [...before.keys()].filter((name) => !now.has(name));
  if (removed !== undefined) throw new Refusal(`code: a transform cannot remove the event's header \`${removed}\`: it can only set another value`);
  const changed = entries.filter(([name, value]) => before.get(name.toLowerCase()) !== value);
  const isContentType = ([name]) => name.toLowerCase() === 'content-type';
  return { contentType: changed.find(isContentType)?.[1], others: changed.filter((header) => !isContentType(header)) };
};

const headersOf = (headers) => {
  if (headers === null || typeof headers !== 'object') throw new Refusal('code: `headers` must be an object of strings');
  return Object.entries(headers).map(([name, value]) => {
    if (!['string', 'number', 'boolean'].includes(typeof value)) throw new Refusal(`code: the header \`${name}\` must be a string`);
    return [name, String(value)];
  });
};

const contentTypeOf = (contentType) => {
  if (contentType !== undefined && typeof contentType !== 'string') throw new Refusal('code: message: `contentType` must be a string');
  return contentType;
};

const replaced = (body, headers = [], contentType = undefined) => ({ tag: 'replace', val: { body, contentType, headers } });
