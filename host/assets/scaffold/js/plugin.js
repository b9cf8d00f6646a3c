// Turns `employee_created` into a message for the team's chat, and drops every other event.

/** Called when a webhook is created or changed. A thrown error refuses the config. */
export function checkConfig(config) {
  for (const field of Object.keys(config ?? {})) {
    if (field !== 'greeting') throw new Error(`config: unknown field ${field}; there is only greeting`);
  }
}

/** Called for every event. `event.body` is the data as JSON text. A thrown error fails the attempt. */
export function transform(event, config) {
  if (event.eventType !== 'employee_created') return { tag: 'drop', val: 'not about a new employee' };
  const employee = JSON.parse(event.body);
  const text = `${config?.greeting ?? 'Welcome'}, ${employee.first_name} ${employee.last_name}!`;
  return { tag: 'replace', val: { body: JSON.stringify({ text }), headers: [] } };
}
