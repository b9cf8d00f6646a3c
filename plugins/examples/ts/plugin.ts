// Renames fields to the names of another system's API, and leaves out all other fields.
//
// Config: {"fields": {"employeeId": "employee_id", "pay.amount": "salary_amount"}, "event": "event"}. `fields` maps names
// in the new object to fields of the event; a dot in a name creates a nested object. `event`, which is optional, names the field
// for the event's type.

import type { Event, Outcome } from 'posthaste:transform/types@0.1.0';

export interface Config {
  fields: Record<string, string>;
  event?: string;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Sets the field at a path such as `pay.amount`. */
function put(target: JsonObject, path: string[], value: Json): void {
  const [name, ...rest] = path;
  if (rest.length === 0) {
    target[name] = value;
    return;
  }
  const inner = target[name];
  const object: JsonObject = isObject(inner) ? inner : {};
  target[name] = object;
  put(object, rest, value);
}

export function checkConfig(config: Config | null): void {
  if (!config || typeof config.fields !== 'object') throw new Error('config: fields is missing: {"newName": "old_name"}');
  const targets = Object.keys(config.fields);
  if (targets.length === 0) throw new Error('config: fields names no field, so nothing would be sent');
  const clash = targets.find((name) => targets.some((other) => other.startsWith(`${name}.`)));
  if (clash) throw new Error(`config: ${clash} cannot be a value and an object`);
}

export function transform(event: Event, config: Config): Outcome {
  const data: Json = JSON.parse(event.body);
  if (!isObject(data)) throw new Error('the data is no object, so it has no fields');
  const renamed: JsonObject = {};
  if (config.event) renamed[config.event] = event.eventType;
  for (const [to, from] of Object.entries(config.fields)) {
    if (from in data) put(renamed, to.split('.'), data[from]);
  }
  return { tag: 'replace', val: { body: JSON.stringify(renamed), headers: [] } };
}
