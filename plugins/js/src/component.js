// Implements the exports of wit/transform.wit.

import './globals.js';
import { failed } from './failures.js';
import { prepare } from './handlers.js';

const read = (json) => {
  const config = JSON.parse(json);
  const { code, vars, ...others } = config ?? {};
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new Error(`config: unknown field \`${unknown}\`; there are \`code\` and \`vars\``);
  if (typeof code !== 'string') throw new Error('config: `code` is a string of JavaScript that defines `transform(event, vars)`');
  return { code, vars };
};

export const handler = {
  checkConfig(json) {
    const { code, vars } = read(json);
    prepare(code, vars);
  },
  transform(event, json) {
    const { code, vars } = read(json);
    const handle = prepare(code, vars);
    try {
      return handle(event);
    } catch (error) {
      throw failed(error, code);
    }
  },
};
