import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkConfig, transform } from './dist/plugin.js';

const event = (eventType, data) => ({
  id: 'evt_1',
  eventType,
  company: '1',
  occurredAt: '2026-01-01T00:00:00.000Z',
  headers: [],
  body: JSON.stringify(data),
});

test('welcomes', () => {
  const created = event('employee_created', { first_name: 'Bob', last_name: 'Macri' });
  const { tag, val } = transform(created, { greeting: 'Benvingut' });
  assert.equal(tag, 'replace');
  assert.deepEqual(JSON.parse(val.body), { text: 'Benvingut, Bob Macri!' });
});

test('drops other events', () => {
  assert.equal(transform(event('employee_unterminated', { id: 52 }), null).tag, 'drop');
});

test('refuses a misspelt config', () => {
  assert.throws(() => checkConfig({ greting: 'Hi' }), /unknown field greting/);
  checkConfig(null);
});
