//! What a webhook says about the certificates of its receiver.

use std::sync::Arc;

use super::plugin::Digest;

/// The certificates that a webhook's receiver may present, in place of what the service trusts. At least one of the two
/// is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    ca: Option<Arc<str>>,
    pin_sha256: Option<Arc<str>>,
    /// Of both.
    digest: Digest,
}

impl TlsSettings {
    /// Returns the settings; `None` if neither is set. `ca` holds certificates in PEM, `pin_sha256` 64 hexadecimal digits.
    pub fn new(ca: Option<&str>, pin_sha256: Option<&str>) -> Option<Self> {
        if ca.is_none() && pin_sha256.is_none() {
            return None;
        }
        let text = format!("{}\n{}", pin_sha256.unwrap_or_default(), ca.unwrap_or_default());
        let digest = Digest::of(text.as_bytes());
        Some(Self { ca: ca.map(Into::into), pin_sha256: pin_sha256.map(Into::into), digest })
    }

    /// The authorities that may sign the receiver's certificate, or that certificate itself: PEM.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// The SHA-256 of the public key that the receiver must have (`SubjectPublicKeyInfo` in DER, as in RFC 7469 §2.4), as
    /// lower-case hexadecimal digits.
    pub fn pin_sha256(&self) -> Option<&str> {
        self.pin_sha256.as_deref()
    }

    /// Names these settings: others have another digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Reads a pin: 64 lower-case hexadecimal digits.
///
/// # Errors
/// The rule, and how to compute a pin.
pub fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty()).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        "a pin is the SHA-256 of the receiver's public key in 64 lower-case hexadecimal digits: \
         openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der | openssl sha256"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_64_lower_case_hexadecimal_digits() {
        let text = format!("{}0f", "a1".repeat(31));
        let mut expected = [0xa1; 32];
        expected[31] = 0x0f;
        assert_eq!(parse_pin(&text), Ok(expected));
        for bad in ["", "a1", &"A1".repeat(32), &"a1".repeat(33), &format!("{}a", "a1".repeat(31)), &"g1".repeat(32)] {
            assert!(parse_pin(bad).unwrap_err().contains("openssl"), "{bad}");
        }
    }

    #[test]
    fn settings_have_one_part_or_both_and_a_digest_of_their_own() {
        assert_eq!(TlsSettings::new(None, None), None);
        let all =
            [(Some("a"), None), (None, Some("a")), (Some("a"), Some("a")), (Some("b"), None), (Some(""), Some(""))];
        let digests: std::collections::BTreeSet<_> =
            all.iter().map(|(ca, pin)| TlsSettings::new(*ca, *pin).unwrap().digest().to_string()).collect();
        assert_eq!(digests.len(), all.len());
    }
}
