// JSON with the numbers that a double cannot hold: they keep their spelling where the code leaves them alone.

/** The texts that may have such a number: 16 digits or more in a row, or an exponent of two digits or more. */
const SUSPICIOUS = /[\d.]{16}|\d[eE][+-]?\d\d/;

/** Returns the digits and the exponent of a number, in one spelling for each value. */
const canonical = (spelling) => {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(spelling);
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return `${sign}0`;
  return `${sign}${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
};

const isExact = (spelling, number) => {
  const shortest = String(number);
  return shortest === spelling || (Number.isFinite(number) && canonical(shortest) === canonical(spelling));
};

/** A JSON text as a value, and the spellings of its numbers that the value cannot hold. */
export class Document {
  /** The member of an object at which such a number was read. */
  #places = new Map();
  /** The spellings by their double; `null` if several share it. */
  #spellings = new Map();

  constructor(text) {
    this.value = JSON.parse(text);
    // Most texts come back as they are, and writing them is faster than searching in them.
    if (JSON.stringify(this.value) === text || !SUSPICIOUS.test(text)) return;
    const document = this;
    this.value = JSON.parse(text, function (name, value, { source }) {
      if (typeof value === 'number' && !isExact(source, value)) document.#keep(this, name, value, source);
      return value;
    });
  }

  #keep(holder, name, value, spelling) {
    const names = this.#places.get(holder) ?? new Map();
    names.set(name, { value, spelling });
    this.#places.set(holder, names);
    const known = this.#spellings.get(value);
    this.#spellings.set(value, known === undefined || known === spelling ? spelling : null);
  }

  /** Returns a value as JSON; `undefined` if JSON has no such value. */
  json(value) {
    if (this.#spellings.size === 0) return JSON.stringify(value);
    const document = this;
    return JSON.stringify(value, function (name, member) {
      if (typeof member !== 'number' || !document.#spellings.has(member)) return member;
      const place = document.#places.get(this)?.get(name);
      const spelling = place?.value === member ? place.spelling : document.#spellings.get(member);
      return spelling === null ? member : JSON.rawJSON(spelling);
    });
  }
}
