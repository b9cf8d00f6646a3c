//! The reasons why a TLS connection fails, as sentences for the webhook's owner.

use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use super::certificate_fault::CertificateFault;

/// Describes an error of a TLS connection, as the end of a sentence that begins with "TLS: ".
pub(in crate::outbound) fn describe(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::AlertReceived(alert) => refused(*alert),
        rustls::Error::NoCertificatesPresented => "the receiver sent no certificate".into(),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the receiver does not speak TLS on this port".into()
        }
        rustls::Error::PeerIncompatible(incompatible) => old(incompatible).into(),
        rustls::Error::NoApplicationProtocol => "the receiver does not offer HTTP/1.1".into(),
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::PeerMisbehaved(_)
        | rustls::Error::PeerSentOversizedRecord
        | rustls::Error::DecryptError => "the receiver broke the rules of the TLS protocol".into(),
        _ => "the handshake failed on the side of Posthaste".into(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(other) => match other.0.downcast_ref::<CertificateFault>() {
            Some(fault) => fault.to_string(),
            None => "the receiver's certificate cannot be used".into(),
        },
        // The verifier's own faults come first, so this is about the signature on the handshake.
        CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the receiver's signature cannot be verified: its certificate is for another key, or its key is too short \
             or of an unknown kind"
                .into()
        }
        _ => "the receiver's certificate cannot be used".into(),
    }
}

/// Describes what a receiver lacks.
fn old(incompatible: &PeerIncompatible) -> &'static str {
    match incompatible {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired => {
            "the receiver speaks only an outdated version of TLS: it must support TLS 1.2 or 1.3"
        }
        _ => {
            "the receiver offers only outdated ciphers: it must support one with AES-GCM or ChaCha20-Poly1305 and \
             an ephemeral key exchange (ECDHE)"
        }
    }
}

/// Describes an alert (RFC 8446 §6) with which a receiver ended the connection.
fn refused(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateUnknown => {
            "the receiver requires a client certificate, which Posthaste does not have"
        }
        AlertDescription::ProtocolVersion => {
            "the receiver speaks only an outdated version of TLS: it must support TLS 1.2 or 1.3"
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "the receiver refused the handshake: it offers only outdated ciphers, or requires a client certificate, which \
             Posthaste does not have"
        }
        AlertDescription::UnrecognisedName => "the receiver serves no host of this name",
        AlertDescription::NoApplicationProtocol => "the receiver does not offer HTTP/1.1",
        AlertDescription::AccessDenied => "the receiver denied access",
        AlertDescription::InternalError => "the receiver ended the connection because of an error of its own",
        _ => "the receiver ended the connection",
    };
    format!("{why} (TLS alert {})", u8::from(alert))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{OtherError, PeerMisbehaved};

    use super::*;

    #[test]
    fn each_error_is_a_sentence_without_names_of_the_library() {
        let other = || OtherError(Arc::new(std::io::Error::other("x")));
        let signature = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![1, 2, 3],
            public_key_algorithm_id: vec![4, 5, 6],
        };
        for (error, part) in [
            (rustls::Error::AlertReceived(AlertDescription::CertificateRequired), "requires a client certificate"),
            (
                rustls::Error::AlertReceived(AlertDescription::HandshakeFailure),
                "outdated ciphers, or requires a client",
            ),
            (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), "outdated version of TLS"),
            (rustls::Error::AlertReceived(AlertDescription::Unknown(200)), "ended the connection (TLS alert 200)"),
            (PeerIncompatible::ServerDoesNotSupportTls12Or13.into(), "outdated version of TLS"),
            (PeerIncompatible::NoCipherSuitesInCommon.into(), "outdated ciphers"),
            (InvalidMessage::InvalidContentType.into(), "does not speak TLS on this port"),
            (InvalidMessage::MissingData("x").into(), "broke the rules"),
            (PeerMisbehaved::TooMuchEarlyDataReceived.into(), "broke the rules"),
            (CertificateError::BadSignature.into(), "signature cannot be verified"),
            (signature.into(), "signature cannot be verified"),
            (CertificateError::Other(other()).into(), "certificate cannot be used"),
            (CertificateError::Revoked.into(), "certificate cannot be used"),
            (CertificateError::Other(OtherError(Arc::new(CertificateFault::Unusable("is odd")))).into(), "is odd"),
            (rustls::Error::NoCertificatesPresented, "sent no certificate"),
            (rustls::Error::General("x".into()), "failed on the side of Posthaste"),
            (rustls::Error::Other(other()), "failed on the side of Posthaste"),
        ] {
            let text = describe(&error);
            assert!(text.contains(part) && !text.contains("Error") && !text.contains(['[', '{']), "{text}");
        }
    }
}
