// What a pure function cannot have.

export const NO_RANDOMNESS = 'a transform has no random numbers: hash something of the event instead, `crypto.createHash("sha256")`';

/** Returns a function that says why there is no such function. */
export const without = (text) => () => {
  throw new Error(text);
};
