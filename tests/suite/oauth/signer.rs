//! Signs tokens with any header and claims, with keys of its own.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use posthaste_tests::Receiver;
use serde_json::{Value, json};

pub(super) struct Signer {
    kid: String,
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
}

fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(super) fn new(kid: &str) -> Self {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        Self { kid: kid.into(), ed, ec }
    }

    /// Returns the public keys: `<kid>` for Ed25519, `<kid>-ec` for P-256.
    pub(super) fn jwks(&self) -> Vec<Value> {
        let point = self.ec.public_key().as_ref();
        vec![
            json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": part(self.ed.public_key())}),
            json!({"kty": "EC", "crv": "P-256", "kid": format!("{}-ec", self.kid), "x": part(&point[1..33]), "y": part(&point[33..])}),
        ]
    }

    /// Returns the header of a token that the Ed25519 key signs.
    pub(super) fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid})
    }

    /// Signs with the `alg` of the header; HMAC uses the text of the public key as its secret.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        let hmac = |secret: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let signature = match header["alg"].as_str() {
            Some("EdDSA") => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            Some("ES256") => self.ec.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            Some("HS256") => hmac(self.ed.public_key().as_ref()).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{message}.{}", part(signature))
    }
}

/// Makes the receiver serve this key set.
pub(super) fn publish(receiver: &Receiver, keys: Vec<Value>) {
    let body = json!({ "keys": keys }).to_string();
    receiver.answer(move |_, _| body.clone().into_response());
}
