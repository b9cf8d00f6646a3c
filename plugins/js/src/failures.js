// Says where in the user's code an error was thrown.

/** An error whose text is complete, and not about a line of the code. */
export class Refusal extends Error {}

// The name that QuickJS gives to code that is evaluated.
const PLACE = /<input>:(\d+):(\d+)/;
const LINE_CHARACTERS = 80;

const described = (error) => {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  } catch {
    return 'a value that has no text was thrown';
  }
};

/** Returns an error with the text for people: the line, column and text of the place in `code` where `error` was thrown. */
export const failed = (error, code) => {
  if (error instanceof Refusal) return error;
  const [, line, column] = PLACE.exec(error?.stack ?? '') ?? [];
  if (line === undefined) return new Error(`code: ${described(error)}`);
  const text = code.split('\n')[line - 1]?.trim() ?? '';
  const shown = text.length > LINE_CHARACTERS ? `${text.slice(0, LINE_CHARACTERS)}…` : text;
  return new Error(`code: line ${line}, column ${column}: ${described(error)}${shown && `, in \`${shown}\``}`);
};
