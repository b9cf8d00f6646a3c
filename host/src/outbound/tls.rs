//! TLS settings of the client that POSTs to receivers.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// Returns settings that trust the authorities of this system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
///
/// # Errors
/// The system has no CA certificates; the text says how to install some.
pub(super) fn client_config() -> Result<ClientConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err("this system has no CA certificates, so https:// targets cannot be verified: \
                    install the package ca-certificates, or set SSL_CERT_FILE to a file with CA certificates"
            .into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| format!("TLS: {error}"))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
