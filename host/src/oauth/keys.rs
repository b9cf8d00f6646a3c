//! JWK Sets (RFC 7517), and the selection of the key that verifies a token.

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Bounds the keys of one set: they are searched linearly for every token that is not cached.
const MAX_KEYS: usize = 100;

/// A key that verifies signatures of one algorithm. The algorithm follows from the key type, never from the token: a
/// public key is no secret, so a bearer could forge a token that names HMAC, with the public key as the HMAC secret.
pub(super) struct PublicKey {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of a set that verify a supported algorithm.
#[derive(Default)]
pub(super) struct KeySet(Vec<Arc<PublicKey>>);

/// The parts of a token's header that select its key.
pub(super) struct KeySelector {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
}

/// The keys of a set that match a [`KeySelector`].
pub(super) enum KeyMatch {
    One(Arc<PublicKey>),
    Several,
    None,
}

#[derive(Deserialize)]
struct JwkSetDocument {
    keys: Vec<Value>,
}

impl KeySet {
    /// Parses a set. Keys of unknown types are ignored, as RFC 7517 §5 requires.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: JwkSetDocument =
            serde_json::from_slice(bytes).map_err(|error| format!("not a JWK Set: {error}"))?;
        let count = document.keys.len();
        if count > MAX_KEYS {
            return Err(format!("the JWK Set has {count} keys; at most {MAX_KEYS} are allowed"));
        }
        Ok(Self(document.keys.into_iter().filter_map(PublicKey::read).map(Arc::new).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Finds the selected key. Without a `kid`, the key must be the only one for the algorithm.
    pub(super) fn find(&self, selector: &KeySelector) -> KeyMatch {
        let named = |key: &&Arc<PublicKey>| selector.kid.is_none() || key.kid == selector.kid;
        let mut matching = self.0.iter().filter(|key| key.algorithm == selector.algorithm).filter(named);
        match (matching.next(), matching.next()) {
            (Some(key), None) => KeyMatch::One(key.clone()),
            (Some(_), Some(_)) => KeyMatch::Several,
            (None, _) => KeyMatch::None,
        }
    }
}

impl PublicKey {
    fn read(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies = common.key_operations.as_ref().is_none_or(|does| does.contains(&KeyOperations::Verify));
        if !signs || !verifies || common.key_algorithm.is_some_and(|only| only != named) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, algorithm, key })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(keys: &Value) -> KeySet {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn finds(set: &KeySet, kid: Option<&str>, algorithm: Algorithm) -> bool {
        matches!(set.find(&KeySelector { kid: kid.map(str::to_owned), algorithm }), KeyMatch::One(_))
    }

    #[test]
    fn the_key_type_determines_the_algorithm() {
        let set = set(&json!([
            {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"},
            {"kty": "EC", "kid": "e", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
            {"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "AQAB", "use": "sig", "key_ops": ["verify"]},
        ]));
        for (kid, fits) in [("r", Algorithm::RS256), ("e", Algorithm::ES256), ("o", Algorithm::EdDSA)] {
            for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256] {
                assert_eq!(finds(&set, Some(kid), algorithm), algorithm == fits, "{kid} {algorithm:?}");
                assert_eq!(finds(&set, None, algorithm), algorithm != Algorithm::HS256);
            }
        }
        assert!(!finds(&set, Some("x"), Algorithm::RS256));
    }

    #[test]
    fn keys_that_cannot_or_may_not_verify_are_ignored() {
        let set = set(&json!([
            "text", {}, {"kty": "oct", "k": "AQAB"}, {"kty": "OKP", "crv": "X25519", "x": "AQAB"},
            {"kty": "EC", "crv": "P-384", "x": "AQAB", "y": "AQAB"}, {"kty": "RSA", "n": "%", "e": "AQAB"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "PS256"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "HS256"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "key_ops": ["encrypt"]},
        ]));
        assert_eq!(set.len(), 0);
        assert!(!finds(&set, None, Algorithm::RS256));
    }

    #[test]
    fn a_key_of_a_restricted_use_verifies_if_the_use_is_signing() {
        let set = set(&json!([
            {"kty": "RSA", "kid": "use", "n": "AQAB", "e": "AQAB", "use": "sig"},
            {"kty": "RSA", "kid": "alg", "n": "AQAB", "e": "AQAB", "alg": "RS256"},
            {"kty": "RSA", "kid": "ops", "n": "AQAB", "e": "AQAB", "key_ops": ["encrypt", "verify"]},
        ]));
        assert_eq!(set.len(), 3);
        for kid in ["use", "alg", "ops"] {
            assert!(finds(&set, Some(kid), Algorithm::RS256), "{kid}");
        }
    }

    #[test]
    fn a_token_without_a_kid_matches_only_if_one_key_has_the_algorithm() {
        let key = json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"});
        let two = set(&json!([key, {"kty": "RSA", "kid": "s", "n": "AQAB", "e": "AQAB"}]));
        assert!(matches!(two.find(&KeySelector { kid: None, algorithm: Algorithm::RS256 }), KeyMatch::Several));
        assert!(finds(&two, Some("s"), Algorithm::RS256));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut keys = vec![json!({}); MAX_KEYS];
        assert!(KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).is_ok());
        keys.push(json!({}));
        let error = KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).err().unwrap();
        assert!(error.contains("101 keys"), "{error}");
        assert!(KeySet::read(b"[]").is_err() && KeySet::read(b"{}").is_err());
    }
}
