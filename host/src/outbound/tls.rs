//! TLS settings of the clients: what they trust.

mod certificate;
mod certificate_fault;
mod handshake_fault;
#[cfg(test)]
mod samples;
mod verifier;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;

pub(super) use handshake_fault::describe;
use verifier::{Anchors, Verifier};

/// How a certificate can be trusted that is not.
const ADVICE: &str = "to trust it, set SSL_CERT_FILE to a file with it";

/// Returns settings that trust the authorities of this system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
///
/// # Errors
/// The system has no CA certificates; the text says how to install some.
pub(super) fn client_config() -> Result<ClientConfig, String> {
    let mut anchors = Anchors::none();
    for certificate in rustls_native_certs::load_native_certs().certs {
        let _unusable_ones_are_skipped = anchors.add(certificate);
    }
    if anchors.is_empty() {
        return Err("this system has no CA certificates, so https:// targets cannot be verified: \
                    install the package ca-certificates, or set SSL_CERT_FILE to a file with CA certificates"
            .into());
    }
    config(Some(anchors), None, ADVICE)
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
