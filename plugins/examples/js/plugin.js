// A Slack message for each clock-in: who, where, and the remark.
//
// Config: {"channel": "#arrivals", "names": {"1": "Núria"}}; both are optional.

/** Escapes `&`, `<` and `>`, which have a meaning in Slack: a remark such as `<!channel>` would notify everybody. */
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const section = (text) => ({ type: 'section', text: { type: 'mrkdwn', text } });

export function checkConfig(config) {
  const { channel, names, ...others } = config ?? {};
  const [unknown] = Object.keys(others);
  if (unknown) throw new Error(`config: unknown field ${unknown}; there are channel and names`);
  if (channel !== undefined && !/^[#@][^\s]+$/.test(channel)) throw new Error('config: channel begins with # or @');
}

export function transform(event, config) {
  if (event.eventType !== 'attendance/shift/clock_in') return { tag: 'pass' };
  const shift = JSON.parse(event.body);
  const name = escaped(config?.names?.[shift.employee_id] ?? `Employee ${shift.employee_id}`);
  // The local time as published, independent of the time zone of the host.
  const time = shift.now.slice(11, 16);
  const text = `${name} clocked in at ${time} (${shift.location_type.replaceAll('_', ' ')})`;
  const blocks = [section(`*${text}*`)];
  if (shift.observations) blocks.push(section(`> ${escaped(shift.observations)}`));
  if (shift.latitude !== null) {
    const place = `https://www.openstreetmap.org/?mlat=${shift.latitude}&mlon=${shift.longitude}`;
    blocks.push(section(`<${place}|Where>`));
  }
  console.debug('blocks', blocks.length);
  return { tag: 'replace', val: { body: JSON.stringify({ channel: config?.channel, text, blocks }), headers: [] } };
}
