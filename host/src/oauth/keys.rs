//! A JWK Set (RFC 7517), and which of its keys verifies what.

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Most keys of one set: what is looked through for every token that is not remembered.
const MAX_KEYS: usize = 100;

/// A key that verifies signatures of one algorithm. The algorithm follows from the kind of key, never from the token:
/// a public key is no secret, so a token that names HMAC would otherwise be its bearer's own.
pub(super) struct PublicKey {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of a set that verify one of our algorithms.
#[derive(Default)]
pub(super) struct KeySet(Vec<Arc<PublicKey>>);

/// What a token's header says about its key.
pub(super) struct Wanted {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
}

/// What a set has for it.
pub(super) enum Found {
    Key(Arc<PublicKey>),
    Several,
    Nothing,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. A key of another kind is left out, as RFC 7517 §5 asks.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("no JWK Set: {error}"))?;
        let count = document.keys.len();
        if count > MAX_KEYS {
            return Err(format!("a JWK Set of {count} keys; at most {MAX_KEYS} are taken"));
        }
        Ok(Self(document.keys.into_iter().filter_map(PublicKey::read).map(Arc::new).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Without a `kid` the key has to be the only one for the algorithm.
    pub(super) fn find(&self, wanted: &Wanted) -> Found {
        let named = |key: &&Arc<PublicKey>| wanted.kid.is_none() || key.kid == wanted.kid;
        let mut fitting = self.0.iter().filter(|key| key.algorithm == wanted.algorithm).filter(named);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(key.clone()),
            (Some(_), Some(_)) => Found::Several,
            (None, _) => Found::Nothing,
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
        matches!(set.find(&Wanted { kid: kid.map(str::to_owned), algorithm }), Found::Key(_))
    }

    #[test]
    fn the_kind_of_key_decides_the_algorithm() {
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
    fn what_cannot_or_may_not_verify_is_left_out() {
        let set = set(&json!([
            "text", {}, {"kty": "oct", "k": "AQAB"}, {"kty": "OKP", "crv": "X25519", "x": "AQAB"},
            {"kty": "EC", "crv": "P-384", "x": "AQAB", "y": "AQAB"}, {"kty": "RSA", "n": "%", "e": "AQAB"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "PS256"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "HS256"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB", "key_ops": ["encrypt"]},
        ]));
        assert_eq!(set.len(), 0);
    }

    #[test]
    fn a_key_without_a_name_is_taken_where_it_is_the_only_one() {
        let key = json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"});
        let two = set(&json!([key, {"kty": "RSA", "kid": "s", "n": "AQAB", "e": "AQAB"}]));
        assert!(matches!(two.find(&Wanted { kid: None, algorithm: Algorithm::RS256 }), Found::Several));
        assert!(finds(&two, Some("s"), Algorithm::RS256));
    }

    #[test]
    fn is_bounded() {
        let keys = vec![json!({}); MAX_KEYS + 1];
        let error = KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).err().unwrap();
        assert!(error.contains("101 keys"), "{error}");
        assert!(KeySet::read(b"[]").is_err() && KeySet::read(b"{}").is_err());
    }
}
