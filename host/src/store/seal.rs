//! Encrypts signing secrets at rest: AES-256-GCM (NIST SP 800-38D) with a random nonce, which precedes the ciphertext.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::error::StoreError;

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

    /// Encrypts `plain`. Returns nonce (12 bytes), ciphertext and tag (16 bytes).
    pub(super) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut text = plain.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut text);
        let nonce = nonce.map_err(|_| StoreError::Setup("encrypting a signing secret failed".into()))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Decrypts bytes that were sealed under the same key; `None` for any others.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_open_only_with_their_own_key_and_unchanged() {
        let (a, b) = (Sealer::new(&[1; 32]).unwrap(), Sealer::new(&[2; 32]).unwrap());
        let mut sealed = a.seal(b"secret").unwrap();
        assert_eq!(a.open(&sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(b.open(&sealed), None);
        assert_ne!(a.seal(b"secret").unwrap(), sealed);
        *sealed.last_mut().unwrap() ^= 1;
        assert_eq!(a.open(&sealed), None);
        assert_eq!(a.open(b"short"), None);
    }

    #[test]
    fn sealed_bytes_are_nonce_ciphertext_and_tag() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        for plain in [&b""[..], b"a", &[7; 64]] {
            let sealed = sealer.seal(plain).unwrap();
            assert_eq!(sealed.len(), NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
            assert_eq!(sealer.open(&sealed).as_deref(), Some(plain));
        }
    }

    #[test]
    fn no_changed_or_missing_byte_opens() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let sealed = sealer.seal(b"secret").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(sealer.open(&changed), None, "byte {place}");
            assert_eq!(sealer.open(&sealed[..place]), None, "{place} bytes");
        }
    }
}
