//! Encrypts signing secrets at rest: AES-256-GCM (NIST SP 800-38D), a random nonce in front of each.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::StoreError;

/// Seals and opens short secrets under one key.
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// A sealer with this key.
    pub fn new(key: &[u8; 32]) -> Result<Self, StoreError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key);
        Ok(Self(key.map_err(|_| StoreError::Setup("the secret key is not usable".into()))?))
    }

    /// Nonce, ciphertext and tag of `plain`.
    pub(super) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut text = plain.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut text);
        let nonce = nonce.map_err(|_| StoreError::Setup("encrypting a signing secret failed".into()))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// What was sealed under the same key; `None` for anything else.
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
    fn opens_only_with_its_own_key_and_unchanged() {
        let (a, b) = (Sealer::new(&[1; 32]).unwrap(), Sealer::new(&[2; 32]).unwrap());
        let mut sealed = a.seal(b"secret").unwrap();
        assert_eq!(a.open(&sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(b.open(&sealed), None);
        assert_ne!(a.seal(b"secret").unwrap(), sealed);
        *sealed.last_mut().unwrap() ^= 1;
        assert_eq!(a.open(&sealed), None);
        assert_eq!(a.open(b"short"), None);
    }
}
