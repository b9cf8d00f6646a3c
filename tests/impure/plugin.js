// Calls the impure function that the config names; `null` calls all that return a value.

const RANDOM_AT_BUILD = Math.random();
const BUILT = Date.now();

const ANSWERS = {
  'Math.random': () => [Math.random(), Math.random()],
  'Math.random at the top': () => RANDOM_AT_BUILD,
  'Date.now at the top': () => BUILT,
  'a given date': () => new Date(0).toString(),
  'time zone': () => new Date(0).getTimezoneOffset(),
  locale: () => [(1234.5).toLocaleString(), ['b', 'á', 'a'].sort((a, b) => a.localeCompare(b)).join()],
  'what there is': () => ['Intl', 'crypto', 'process', 'fetch', 'setTimeout', 'TextDecoder', 'URL'].map((name) => [name, typeof globalThis[name]]),
};

const TRAPS = {
  'Date.now': () => Date.now(),
  'new Date': () => new Date().toISOString(),
  'performance.now': () => performance.now(),
};

export function checkConfig() {}

export function transform(event, what) {
  const asked = what === null ? Object.keys(ANSWERS) : [what];
  const seen = asked.map((name) => [name, (ANSWERS[name] ?? TRAPS[name])()]);
  return { tag: 'replace', val: { body: JSON.stringify(seen), headers: [] } };
}
