// `TextEncoder` and `TextDecoder` for UTF-8, the only encoding of a message.

import { utf8fromStringLoose, utf8toString, utf8toStringLoose } from '@exodus/bytes/utf8.js';

export class TextEncoder {
  get encoding() {
    return 'utf-8';
  }
  encode(text = '') {
    return utf8fromStringLoose(String(text));
  }
}

export class TextDecoder {
  #fatal;
  constructor(label = 'utf-8', { fatal = false } = {}) {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`there is no decoder for \`${label}\`: there is utf-8`);
    this.#fatal = fatal;
  }
  get encoding() {
    return 'utf-8';
  }
  decode(bytes = new Uint8Array()) {
    const array = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes;
    return this.#fatal ? utf8toString(array) : utf8toStringLoose(array);
  }
}
