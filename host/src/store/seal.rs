//! Encrypts signing secrets at rest: AES-256-GCM (NIST SP 800-38D) with a random nonce, which precedes the ciphertext.
//!
//! What a webhook has is bound to it by associated data, so that who can write the database cannot have one webhook signed with the
//! secret of another. Such bytes begin with [`BOUND`]. Those of earlier versions, without associated data, are still opened.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::error::StoreError;

/// The first byte of bytes that are bound to their place. The nonce of others may begin with it as well.
const BOUND: u8 = 1;

/// Where encrypted bytes are kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum SealedPlace<'p> {
    /// In `meta`: the proof that the key is right. It is not bound, so that every version recognises it.
    Meta,
    /// A signing secret of a company's webhook with this subscription, as the table has it; a rotation moves it from the current to the previous.
    Secret(&'p str, &'p str),
    /// The headers of a company's webhook with this subscription, as the table has it.
    Headers(&'p str, &'p str),
}

impl SealedPlace<'_> {
    /// Returns the associated data; `None`: the bytes are not bound.
    fn associated(self) -> Option<Vec<u8>> {
        let (name, company, key) = match self {
            Self::Meta => return None,
            Self::Secret(company, key) => ("secret", company, key),
            Self::Headers(company, key) => ("headers", company, key),
        };
        // The lengths keep two places from having the same bytes.
        Some(format!("{name} {} {} {company}{key}", company.len(), key.len()).into_bytes())
    }
}

/// Encrypts and decrypts short secrets under one key.
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// Returns a sealer with this key.
    ///
    /// # Errors
    /// [`StoreError::Setup`]: the cryptographic library refuses the key.
    pub fn new(key: &[u8; 32]) -> Result<Self, StoreError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key);
        Ok(Self(key.map_err(|_| StoreError::Setup("the secret key is not usable".into()))?))
    }

    /// Encrypts `plain` for this place. Returns [`BOUND`], if the bytes are bound, nonce (12 bytes), ciphertext and tag (16 bytes).
    pub(super) fn seal(&self, plain: &[u8], place: SealedPlace<'_>) -> Result<Vec<u8>, StoreError> {
        let associated = place.associated();
        let mut text = plain.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(associated.as_deref().unwrap_or_default()), &mut text);
        let nonce = nonce.map_err(|_| StoreError::Setup("encrypting a signing secret failed".into()))?;
        let mut sealed: Vec<u8> = associated.iter().map(|_| BOUND).collect();
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Decrypts bytes that were sealed under the same key for this place, or for any by an earlier version; `None` for any others.
    pub(super) fn open(&self, sealed: &[u8], place: SealedPlace<'_>) -> Option<Vec<u8>> {
        let bound = place.associated().and_then(|associated| {
            let (version, bytes) = sealed.split_first()?;
            self.open_bytes(bytes, &associated).filter(|_| *version == BOUND)
        });
        bound.or_else(|| self.open_bytes(sealed, &[]))
    }

    fn open_bytes(&self, sealed: &[u8], associated: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::from(associated), &mut text).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: SealedPlace<'_> = SealedPlace::Secret("acme", "t");

    #[test]
    fn sealed_bytes_open_only_with_their_own_key_and_unchanged() {
        let (a, b) = (Sealer::new(&[1; 32]).unwrap(), Sealer::new(&[2; 32]).unwrap());
        for place in [SealedPlace::Meta, SECRET] {
            let mut sealed = a.seal(b"secret", place).unwrap();
            assert_eq!(a.open(&sealed, place).as_deref(), Some(&b"secret"[..]));
            assert_eq!(b.open(&sealed, place), None);
            assert_ne!(a.seal(b"secret", place).unwrap(), sealed);
            *sealed.last_mut().unwrap() ^= 1;
            assert_eq!(a.open(&sealed, place), None);
            assert_eq!(a.open(b"short", place), None);
        }
    }

    #[test]
    fn bound_bytes_open_only_where_they_belong() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let sealed = sealer.seal(b"secret", SECRET).unwrap();
        let others = [
            SealedPlace::Meta,
            SealedPlace::Secret("acme", "u"),
            SealedPlace::Secret("other", "t"),
            SealedPlace::Secret("acm", "et"),
            SealedPlace::Headers("acme", "t"),
        ];
        for place in others {
            assert_eq!(sealer.open(&sealed, place), None, "{place:?}");
            assert_eq!(sealer.open(&sealed[1..], place), None, "{place:?}");
        }
        assert_eq!(sealer.open(&sealed[1..], SECRET), None);
    }

    #[test]
    fn bytes_of_an_earlier_version_open_everywhere() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        // Some of these nonces begin with the byte of bound bytes.
        for _ in 0..2_000 {
            let earlier = sealer.seal(b"secret", SealedPlace::Meta).unwrap();
            assert_eq!(earlier.len(), NONCE_LEN + 6 + AES_256_GCM.tag_len());
            assert_eq!(sealer.open(&earlier, SECRET).as_deref(), Some(&b"secret"[..]));
        }
    }

    #[test]
    fn sealed_bytes_are_nonce_ciphertext_and_tag() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        for plain in [&b""[..], b"a", &[7; 64]] {
            let sealed = sealer.seal(plain, SECRET).unwrap();
            assert_eq!((sealed[0], sealed.len()), (BOUND, 1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len()));
            assert_eq!(sealer.open(&sealed, SECRET).as_deref(), Some(plain));
        }
    }

    #[test]
    fn no_changed_or_missing_byte_opens() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let sealed = sealer.seal(b"secret", SECRET).unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(sealer.open(&changed, SECRET), None, "byte {place}");
            assert_eq!(sealer.open(&sealed[..place], SECRET), None, "{place} bytes");
        }
    }
}
