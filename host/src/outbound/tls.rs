//! TLS settings of the clients: what they trust.

mod certificate;
mod certificate_fault;
mod handshake_fault;
#[cfg(test)]
mod samples;
mod trust;
mod verifier;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

pub(super) use handshake_fault::describe;
pub use trust::Trust;
pub(super) use trust::{TrustId, Trusted};
use verifier::{Anchors, Verifier};

/// How a certificate can be trusted that is not.
const ADVICE: &str = "to trust it, set SSL_CERT_FILE to a file with it";

/// Most certificates of a webhook.
const MAX_CA_CERTIFICATES: usize = 8;
/// Bounds the certificates of a webhook, in bytes of PEM.
const MAX_CA_BYTES: usize = 32 * 1024;

/// Returns settings that trust the authorities of this system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
///
/// # Errors
/// The system has no CA certificates; the text says how to install some.
pub(super) fn client_config() -> Result<ClientConfig, String> {
    config(Some(anchors(&system_certificates(), Vec::new())?), None, ADVICE)
}

fn system_certificates() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// Returns the certificates of the system that can be used, with `more` of the operator.
fn anchors(system: &[CertificateDer<'static>], more: Vec<CertificateDer<'static>>) -> Result<Anchors, String> {
    let mut anchors = Anchors::none();
    for certificate in system.iter().cloned().chain(more) {
        let _unusable_ones_are_skipped = anchors.add(certificate);
    }
    if anchors.is_empty() {
        return Err("this system has no CA certificates, so https:// targets cannot be verified: \
                    install the package ca-certificates, or set SSL_CERT_FILE to a file with CA certificates"
            .into());
    }
    Ok(anchors)
}

/// Checks the certificates that a webhook trusts.
///
/// # Errors
/// They are too long or too many, or not certificates in PEM: the text says what to send.
pub fn check_ca(pem: &str) -> Result<(), String> {
    if pem.len() > MAX_CA_BYTES {
        return Err(format!("{} bytes; at most {MAX_CA_BYTES} are allowed", pem.len()));
    }
    if pem.contains("PRIVATE KEY-----") {
        return Err("this contains a private key, which must stay with the receiver: send only certificates".into());
    }
    // A database does not store each of them.
    if pem.chars().any(|char| char.is_control() && !matches!(char, '\r' | '\n' | '\t')) {
        return Err("this contains a control character: send certificates in PEM".into());
    }
    let count = certificates_in(pem.as_bytes())?.len();
    if count > MAX_CA_CERTIFICATES {
        return Err(format!("{count} certificates; at most {MAX_CA_CERTIFICATES} are allowed"));
    }
    Ok(())
}

/// Reads certificates in PEM (RFC 7468 §5).
fn certificates_in(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let place = certificates.len() + 1;
        let certificate = certificate.map_err(|_| format!("the PEM block of certificate {place} is damaged"))?;
        if !Anchors::none().add(certificate.clone()) {
            return Err(format!("certificate {place} cannot be read as an X.509 certificate"));
        }
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        let is_pem = pem.windows(11).any(|window| window == b"-----BEGIN ");
        let what = if is_pem { "no certificate is in it" } else { "this is not PEM" };
        return Err(format!("{what}: it must hold -----BEGIN CERTIFICATE-----, base64, -----END CERTIFICATE-----"));
    }
    Ok(certificates)
}

/// Returns settings that trust these certificates, this key, or both together.
fn config(anchors: Option<Anchors>, pin: Option<[u8; 32]>, advice: &'static str) -> Result<ClientConfig, String> {
    let provider = aws_lc_rs::default_provider();
    let verifier = Verifier { anchors, pin, advice, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| format!("TLS: {error}"))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_a_webhook_are_few_and_in_pem() {
        let ca = samples::authority("Acme");
        let (one, key) = (ca.pem(), "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
        assert_eq!(check_ca(&one), Ok(()));
        assert_eq!(check_ca(&format!("Acme, valid until 2999\n{}", one.repeat(8))), Ok(()));
        for (bad, part) in [
            (String::new(), "this is not PEM"),
            ("/etc/ssl/ca.pem".into(), "this is not PEM"),
            (one.repeat(9), "9 certificates; at most 8 are allowed"),
            ("x".repeat(32 * 1024 + 1), "32769 bytes; at most 32768 are allowed"),
            (format!("{one}{key}"), "private key"),
            (format!("\0{one}"), "a control character"),
            ("-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n".into(), "no certificate is in it"),
            ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into(), "certificate 1 cannot be read"),
            (
                format!("{one}-----BEGIN CERTIFICATE-----\nA?\n-----END CERTIFICATE-----\n"),
                "of certificate 2 is damaged",
            ),
            (one.replace("-----END CERTIFICATE-----", ""), "of certificate 1 is damaged"),
        ] {
            let text = check_ca(&bad).unwrap_err();
            assert!(text.contains(part), "{text}");
        }
    }
}
