//! Standard Webhooks 1.0 signatures, version `v1`: HMAC-SHA256 over `id.timestamp.body`, in base64.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How far a timestamp may lie from now, in seconds, when a signature is verified.
const TOLERANCE_S: i64 = 5 * 60;
/// In front of a secret's base64 text.
const PREFIX: &str = "whsec_";

/// The signature of one POST, `v1,…`. `secret` are the raw bytes, `timestamp` seconds since 1970.
pub fn sign(secret: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(id.as_bytes());
    context.update(format!(".{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

/// Verifies the headers `(webhook-id, webhook-timestamp, webhook-signature)` of a POST that arrived at `now_s`.
///
/// # Errors
/// Says what does not verify.
pub fn verify(
    secret: &[u8],
    (id, timestamp, signatures): (&str, &str, &str),
    body: &[u8],
    now_s: i64,
) -> Result<(), String> {
    let seconds: i64 = timestamp.parse().map_err(|_| "webhook-timestamp is not a number of seconds".to_owned())?;
    if now_s.saturating_sub(seconds).saturating_abs() > TOLERANCE_S {
        return Err(format!("webhook-timestamp is more than {TOLERANCE_S} s away from now"));
    }
    let expected = sign(secret, id, seconds, body);
    let same = |given: &str| constant_time::verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_ok();
    // Several may stand there, separated by spaces, while a secret is being changed.
    if signatures.split(' ').any(same) { Ok(()) } else { Err("no signature of webhook-signature is right".into()) }
}

/// Reads a secret, `whsec_` and base64 of 24 to 64 bytes.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse_secret(text: &str) -> Result<Vec<u8>, String> {
    let encoded = text.trim().strip_prefix(PREFIX).ok_or("a signing secret begins with `whsec_`")?;
    let bytes = STANDARD.decode(encoded).map_err(|_| "after `whsec_` a signing secret is base64")?;
    if !(24..=64).contains(&bytes.len()) {
        return Err(format!("a signing secret has 24 to 64 bytes; this one has {}", bytes.len()));
    }
    Ok(bytes)
}

/// Writes a secret as [`parse_secret`] reads it.
pub fn show_secret(secret: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> Vec<u8> {
        parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
    }

    #[test]
    fn the_published_vector() {
        assert_eq!(sign(&secret(), ID, 1_614_265_330, BODY), SIGNATURE);
        assert_eq!(show_secret(&secret()), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    #[test]
    fn verifies_only_what_was_signed_and_not_for_ever() {
        let check = |id, at, signatures: &str, body, now| verify(&secret(), (id, at, signatures), body, now);
        assert_eq!(check(ID, "1614265330", &format!("v1,AAAA {SIGNATURE}"), BODY, 1_614_265_400), Ok(()));
        assert!(check("msg_other", "1614265330", SIGNATURE, BODY, 1_614_265_400).is_err());
        assert!(check(ID, "1614265331", SIGNATURE, BODY, 1_614_265_400).is_err());
        assert!(check(ID, "1614265330", SIGNATURE, b"{}", 1_614_265_400).is_err());
        assert!(check(ID, "1614265330", SIGNATURE, BODY, 1_614_265_330 + 301).unwrap_err().contains("300 s"));
        assert!(check(ID, "1614265330", "", BODY, 1_614_265_400).is_err());
        assert!(check(ID, "soon", SIGNATURE, BODY, 1_614_265_400).is_err());
    }

    #[test]
    fn secrets_that_are_none() {
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_AAAA"] {
            assert!(parse_secret(bad).is_err(), "{bad}");
        }
    }
}
