//! Decides which certificates of a server are accepted.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::certificate::CertificateParts;
use super::certificate_fault::CertificateFault;
use crate::domain::plugin::hex;

/// The certificates that are trusted: the authorities that may sign, and single certificates.
#[derive(Debug)]
pub(super) struct Anchors {
    authorities: RootCertStore,
    /// The same certificates. A server may also present one of them itself: what `openssl req -x509` makes is both.
    certificates: HashSet<CertificateDer<'static>>,
}

impl Anchors {
    /// Returns no certificates.
    pub(super) fn none() -> Self {
        Self { authorities: RootCertStore::empty(), certificates: HashSet::new() }
    }

    /// Adds a certificate. Returns false if it cannot be read.
    #[must_use]
    pub(super) fn add(&mut self, certificate: CertificateDer<'static>) -> bool {
        let usable = self.authorities.add(certificate.clone()).is_ok();
        if usable {
            self.certificates.insert(certificate);
        }
        usable
    }

    /// Whether nothing is trusted.
    pub(super) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }
}

/// Verifies the certificates of servers. Dates and names must always fit.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None`: the pin alone decides.
    pub(super) anchors: Option<Anchors>,
    /// The SHA-256 that the public key must have (DER of `SubjectPublicKeyInfo`, as for RFC 7469).
    pub(super) pin: Option<[u8; 32]>,
    /// How an untrusted certificate can be trusted, for its error text.
    pub(super) advice: &'static str,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Checks the certificates that a server sent, its own first.
    ///
    /// # Errors
    /// The first reason not to accept them.
    fn check(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateFault> {
        let chain: Vec<_> = std::iter::once(own).chain(others).collect();
        let fault = |error| CertificateFault::of(&error, &chain, self.advice);
        let certificate = EndEntityCert::try_from(own).map_err(fault)?;
        if let Some(pin) = self.pin {
            let key = digest(&SHA256, &certificate.subject_public_key_info());
            if key.as_ref() != pin {
                return Err(CertificateFault::OtherKey(hex(key.as_ref())));
            }
        }
        match &self.anchors {
            Some(anchors) if !anchors.certificates.contains(own) => {
                let (algorithms, roots) = (self.algorithms.all, &anchors.authorities.roots);
                let usage = KeyUsage::server_auth();
                certificate.verify_for_usage(algorithms, roots, others, now, usage, None, None).map_err(fault)?;
            }
            _ => check_dates(own, now).map_err(fault)?,
        }
        certificate.verify_is_valid_for_subject_name(name).map_err(fault)
    }
}

/// Checks the dates of a certificate that is trusted itself: webpki checks them only together with its chain.
fn check_dates(certificate: &CertificateDer<'_>, time: UnixTime) -> Result<(), webpki::Error> {
    let parts = CertificateParts::of(certificate).ok_or(webpki::Error::BadDer)?;
    let now = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let unix_time = |seconds: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
    };
    if now < parts.not_before {
        return Err(webpki::Error::CertNotValidYet { time, not_before: unix_time(parts.not_before) });
    }
    if now > parts.not_after {
        return Err(webpki::Error::CertExpired { time, not_after: unix_time(parts.not_after) });
    }
    Ok(())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates, server_name, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|fault| CertificateError::Other(OtherError(Arc::new(fault))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
