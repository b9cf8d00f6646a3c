// Digests and HMACs, as in `node:crypto`. The library is audited JavaScript; digests of the web's `crypto.subtle` are promises,
// for which a transform cannot wait.

import { NO_RANDOMNESS, without } from './absent.js';
import { toBase64 as base64 } from '@exodus/bytes/base64.js';
import { hmac } from '@noble/hashes/hmac.js';
import { md5, sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

const HASHES = { md5, sha1, sha256, sha384, sha512 };

const hashOf = (name) => {
  const hash = HASHES[String(name).toLowerCase().replace('-', '')];
  if (hash === undefined) throw new Error(`there is no digest \`${name}\`: there are ${Object.keys(HASHES).join(', ')}`);
  return hash;
};

const bytesOf = (value) => {
  if (typeof value === 'string') return utf8ToBytes(value);
  if (value instanceof Uint8Array) return value;
  throw new TypeError('a digest is of a string or a Uint8Array');
};

const encoded = (bytes, encoding) => {
  switch (encoding) {
    case undefined:
      return bytes;
    case 'hex':
      return bytesToHex(bytes);
    case 'base64':
      return base64(bytes);
    case 'base64url':
      return base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
    default:
      throw new Error(`there is no encoding \`${encoding}\`: there are hex, base64 and base64url`);
  }
};

const digestOf = (state) => ({
  update(value) {
    state.update(bytesOf(value));
    return this;
  },
  digest: (encoding) => encoded(state.digest(), encoding),
});

const NO_PROMISES = 'a transform cannot wait: use `crypto.createHash("sha256").update(text).digest("hex")` or `crypto.createHmac("sha256", key)`';

export const crypto = {
  createHash: (name) => digestOf(hashOf(name).create()),
  createHmac: (name, key) => digestOf(hmac.create(hashOf(name), bytesOf(key))),
  getRandomValues: without(NO_RANDOMNESS),
  randomUUID: without(NO_RANDOMNESS),
  randomBytes: without(NO_RANDOMNESS),
  subtle: { digest: without(NO_PROMISES), sign: without(NO_PROMISES), importKey: without(NO_PROMISES) },
};
