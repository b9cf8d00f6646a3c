// Turns `employee_created` into a message for the team's chat, and drops every other event.

import type { Event, Outcome } from 'posthaste:transform/types@0.1.0';

export interface Config {
  /** The first word of each message; `Welcome` by default. */
  greeting?: string;
}

interface Employee {
  first_name: string;
  last_name: string;
}

/** Called when a webhook is created or changed. A thrown error refuses the config. */
export function checkConfig(config: Config | null): void {
  for (const field of Object.keys(config ?? {})) {
    if (field !== 'greeting') throw new Error(`config: unknown field ${field}; there is only greeting`);
  }
}

/** Called for every event. `event.body` is the data as JSON text. A thrown error fails the attempt. */
export function transform(event: Event, config: Config | null): Outcome {
  if (event.eventType !== 'employee_created') return { tag: 'drop', val: 'not about a new employee' };
  const employee: Employee = JSON.parse(event.body);
  const text = `${config?.greeting ?? 'Welcome'}, ${employee.first_name} ${employee.last_name}!`;
  return { tag: 'replace', val: { body: JSON.stringify({ text }), headers: [] } };
}
