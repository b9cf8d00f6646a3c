//! Standard Webhooks 1.0 signatures, scheme `v1`: HMAC-SHA256 over `id.timestamp.body`
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bounds the difference between a timestamp and the receiver's clock, in seconds, in either direction.
pub const TOLERANCE_S: u64 = 300;

const SECRET_PREFIX: &str = "whsec_";
/// The bounds of Standard Webhooks for a symmetric secret, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Bytes of a new secret.
const NEW_SECRET_BYTES: usize = 32;

/// Makes a secret.
///
/// # Errors
/// The system's random number generator failed.
pub fn new_secret() -> Result<Arc<[u8]>, String> {
    let mut secret = [0; NEW_SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| "the system's random number generator failed")?;
    Ok(secret.into())
}

/// Returns the value of the header `webhook-signature`: `v1,` and the base64 of the HMAC. `id` is the value of
/// `webhook-id`; `timestamp_s` is that of `webhook-timestamp`, in seconds since 1970.
pub fn sign(secret: &[u8], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let mut text = String::with_capacity(48);
    text.push_str("v1,");
    STANDARD.encode_string(mac(secret, &Received { id, timestamp_s, body }), &mut text);
    text
}

/// The signed parts of a received webhook.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The header `webhook-id`.
    pub id: &'a str,
    /// The header `webhook-timestamp`: seconds since 1970.
    pub timestamp_s: i64,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// Verifies the header `webhook-signature` (one signature, or several separated by spaces) in constant time.
/// `now_s` is the receiver's clock in seconds since 1970.
///
/// # Errors
/// The timestamp differs by more than [`TOLERANCE_S`], there is no `v1` signature, or none matches.
pub fn verify(header: &str, secret: &[u8], received: &Received<'_>, now_s: i64) -> Result<(), String> {
    let off = now_s.abs_diff(received.timestamp_s);
    if off > TOLERANCE_S {
        return Err(format!("the timestamp differs by {off} s from this clock; at most {TOLERANCE_S} s are allowed"));
    }
    let expected = mac(secret, received);
    let mut any = false;
    for signature in header.split_ascii_whitespace().filter_map(|part| part.strip_prefix("v1,")) {
        any = true;
        let matches = |given: Vec<u8>| verify_slices_are_equal(expected.as_ref(), &given).is_ok();
        if STANDARD.decode(signature).is_ok_and(matches) {
            return Ok(());
        }
    }
    match any {
        true => Err("no signature matches: the secret differs, or the body was changed in transit".into()),
        false => Err("webhook-signature contains no signature of version v1".into()),
    }
}

/// Parses a secret in its displayed form: `whsec_` and base64 of 24 to 64 bytes.
///
/// # Errors
/// The text names the broken rule and never repeats the secret.
pub fn parse_secret(text: &str) -> Result<Vec<u8>, String> {
    let encoded = text.strip_prefix(SECRET_PREFIX).ok_or("a signing secret must begin with whsec_")?;
    let secret = STANDARD.decode(encoded).map_err(|_| "the part of a signing secret after whsec_ must be base64")?;
    if !SECRET_BYTES.contains(&secret.len()) {
        return Err(format!("this signing secret has {} bytes; it must have 24 to 64", secret.len()));
    }
    Ok(secret)
}

/// Returns the displayed form of a secret, which its owner sees once.
pub fn show_secret(secret: &[u8]) -> String {
    let mut text = String::from(SECRET_PREFIX);
    STANDARD.encode_string(secret, &mut text);
    text
}

fn mac(secret: &[u8], message: &Received<'_>) -> Tag {
    // Updated in pieces, so that the body is not copied.
    let mut context = Context::with_key(&Key::new(HMAC_SHA256, secret));
    context.update(message.id.as_bytes());
    let mut stamp = String::with_capacity(24);
    // Writing to a String cannot fail.
    let _ = write!(stamp, ".{}.", message.timestamp_s);
    context.update(stamp.as_bytes());
    context.update(message.body);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const RECEIVED: Received<'static> =
        Received { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp_s: 1_614_265_330, body: br#"{"test": 2432232314}"# };

    fn check(header: &str, received: &Received<'_>, now_s: i64) -> Result<(), String> {
        verify(header, &parse_secret(SECRET).unwrap(), received, now_s)
    }

    #[test]
    fn the_published_test_vector_is_reproduced() {
        let secret = parse_secret(SECRET).unwrap();
        assert_eq!(sign(&secret, RECEIVED.id, RECEIVED.timestamp_s, RECEIVED.body), SIGNATURE);
        assert_eq!(show_secret(&secret), SECRET);
    }

    #[test]
    fn one_matching_signature_among_several_is_enough() {
        for header in [SIGNATURE.to_owned(), format!("v1a,AAAA v1,%%% v1,AAAA {SIGNATURE}")] {
            assert_eq!(check(&header, &RECEIVED, RECEIVED.timestamp_s), Ok(()));
        }
    }

    #[test]
    fn a_changed_message_does_not_verify() {
        let now = RECEIVED.timestamp_s;
        let others = [
            Received { body: br#"{"test": 2432232315}"#, ..RECEIVED },
            Received { id: "msg_other", ..RECEIVED },
            Received { timestamp_s: now + 1, ..RECEIVED },
        ];
        for other in others {
            assert!(check(SIGNATURE, &other, now).unwrap_err().contains("no signature matches"), "{other:?}");
        }
        assert!(verify(SIGNATURE, &[7; 24], &RECEIVED, now).is_err());
        for header in ["", "v1", "v2,AAAA", SIGNATURE.trim_start_matches("v1,")] {
            assert!(check(header, &RECEIVED, now).unwrap_err().contains("version v1"), "{header}");
        }
        assert!(check("v1,", &RECEIVED, now).is_err());
    }

    #[test]
    fn a_timestamp_may_differ_by_five_minutes_in_either_direction() {
        let at = RECEIVED.timestamp_s;
        for now in [at - 300, at + 300] {
            assert_eq!(check(SIGNATURE, &RECEIVED, now), Ok(()));
        }
        for now in [at - 301, at + 301, i64::MIN, i64::MAX] {
            assert!(check(SIGNATURE, &RECEIVED, now).unwrap_err().contains("from this clock"));
        }
    }

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        for len in [24, 64] {
            assert_eq!(parse_secret(&show_secret(&vec![1; len])).unwrap().len(), len);
        }
        for bad in
            [show_secret(&[1; 23]), show_secret(&[1; 65]), "whsec_!".into(), SECRET.trim_start_matches("whsec_").into()]
        {
            let error = parse_secret(&bad).unwrap_err();
            assert!(!error.contains(&bad), "{error}");
        }
    }
}
