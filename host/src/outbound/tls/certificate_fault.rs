//! The reasons why a receiver's certificate is not accepted, as sentences for the webhook's owner.

use std::fmt::{self, Display, Formatter};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::Error;

use super::certificate::{CertificateParts, clip, shown_name};
use crate::domain::time::rfc3339;

/// Most names of a certificate in one sentence: a certificate may have hundreds.
const MAX_NAMES: usize = 4;
/// Most certificates that the search for the end of a chain looks at.
const MAX_CHAIN: usize = 8;

/// Why a certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CertificateFault {
    /// It is not trusted; `advice` says how it can be.
    Untrusted { reason: UntrustedReason, advice: &'static str },
    /// The dates of `what` do not fit.
    Expired { what: &'static str, at: i64 },
    /// As above; `at` is in seconds since 1970.
    NotYetValid { what: &'static str, at: i64 },
    /// It is for other names than `expected`: the first of them, and how many there are.
    OtherNames { expected: String, names: Vec<String>, count: usize },
    /// Its key is not the pinned one, but has this SHA-256 in hex.
    OtherKey(String),
    /// Any other fault, as the end of a sentence that begins with "the certificate".
    Unusable(&'static str),
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UntrustedReason {
    SelfSigned,
    /// The receiver sent its chain, which ends at the certificate of this authority.
    UnknownAuthority(String),
    /// The receiver did not send the certificate of this issuer.
    IncompleteChain(String),
}

impl CertificateFault {
    /// Describes webpki's verdict about `chain`, the certificates that the receiver sent, its own first.
    pub(super) fn of(error: &Error, chain: &[&CertificateDer<'_>], advice: &'static str) -> Self {
        let parts: Vec<_> = chain.iter().take(MAX_CHAIN).map_while(|der| CertificateParts::of(der)).collect();
        let own = parts.first();
        match error {
            Error::CertExpired { not_after, .. } => {
                let at = seconds(*not_after);
                Self::Expired { what: whose(own.is_some_and(|own| own.not_after == at)), at }
            }
            Error::CertNotValidYet { not_before, .. } => {
                let at = seconds(*not_before);
                Self::NotYetValid { what: whose(own.is_some_and(|own| own.not_before == at)), at }
            }
            Error::CertNotValidForName(context) => Self::OtherNames {
                expected: context.expected.to_str().into_owned(),
                names: context.presented.iter().filter_map(|name| host_name(name)).take(MAX_NAMES).collect(),
                count: context.presented.iter().filter(|name| host_name(name).is_some()).count(),
            },
            Error::UnknownIssuer => Self::untrusted(&parts, advice),
            // It is not trusted itself, whatever else is wrong about it as one that an authority has signed.
            Error::CaUsedAsEndEntity | Error::InvalidSignatureForPublicKey
                if own.is_some_and(CertificateParts::is_self_issued) =>
            {
                Self::untrusted(&parts, advice)
            }
            _ => Self::Unusable(unusable(error)),
        }
    }

    fn untrusted(parts: &[CertificateParts<'_>], advice: &'static str) -> Self {
        let reason = match parts.split_first() {
            None => UntrustedReason::IncompleteChain(shown_name(&[])),
            Some((own, _)) if own.is_self_issued() => UntrustedReason::SelfSigned,
            Some((own, others)) => end_of_chain(own, others),
        };
        Self::Untrusted { reason, advice }
    }
}

/// Follows the issuers from the receiver's own certificate to the last one that it sent.
fn end_of_chain(own: &CertificateParts<'_>, others: &[CertificateParts<'_>]) -> UntrustedReason {
    let mut last = own;
    // Each step uses another certificate, so that two that name each other do not make it endless.
    for _ in 0..others.len() {
        let Some(issuer) = others.iter().find(|other| other.subject == last.issuer) else { break };
        if issuer.is_self_issued() {
            return UntrustedReason::UnknownAuthority(shown_name(issuer.subject));
        }
        last = issuer;
    }
    UntrustedReason::IncompleteChain(shown_name(last.issuer))
}

fn whose(own: bool) -> &'static str {
    if own { "the certificate" } else { "a certificate of the receiver's authorities" }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Returns a name for hosts out of webpki's notation, `DnsName("a.test")` or `IpAddress(127.0.0.1)`.
fn host_name(presented: &str) -> Option<String> {
    let dns = presented.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")"));
    let ip = || presented.strip_prefix("IpAddress(").and_then(|name| name.strip_suffix(')'));
    dns.or_else(ip).map(clip)
}

fn unusable(error: &Error) -> &'static str {
    match error {
        Error::CaUsedAsEndEntity => "is that of an authority (CA:TRUE), not that of a server",
        Error::EndEntityUsedAsCa => "is signed with a certificate that is not that of an authority (CA:TRUE)",
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "is not for servers: its extended key usage lacks serverAuth"
        }
        Error::InvalidSignatureForPublicKey => {
            "has a signature that is not its issuer's: the authority of that name has another key, or one that is too short"
        }
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "is signed with an outdated or unknown algorithm, such as SHA-1"
        }
        Error::UnsupportedCertVersion => "is not of X.509 version 3",
        Error::NameConstraintViolation | Error::PathLenConstraintViolated => {
            "breaks the limits that its authority's certificate sets"
        }
        Error::UnsupportedCriticalExtension => "has a critical extension that is not supported",
        Error::CertDistrusted | Error::CertRevoked => "is distrusted or revoked",
        Error::InvalidCertValidity => "ends before it begins to be valid",
        _ => "is malformed",
    }
}

/// Formats seconds since 1970 without milliseconds.
fn instant(seconds: i64) -> String {
    rfc3339(seconds.saturating_mul(1000)).replace(".000Z", "Z")
}

impl Display for CertificateFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted { reason, advice } => write!(f, "{reason}; {advice}"),
            Self::Expired { what, at } => write!(f, "{what} has been expired since {}", instant(*at)),
            Self::NotYetValid { what, at } => write!(f, "{what} is not valid before {}", instant(*at)),
            Self::OtherNames { expected, names, .. } if names.is_empty() => {
                write!(f, "the certificate names no host (it has no subjectAltName), so it is not for {expected}")
            }
            Self::OtherNames { expected, names, count } => {
                write!(f, "the certificate is not for {expected}, but for {}", names.join(", "))?;
                match count.saturating_sub(names.len()) {
                    0 => Ok(()),
                    more => write!(f, " and {more} other names"),
                }
            }
            Self::OtherKey(digest) => write!(
                f,
                "the certificate has another key than the webhook's `tls.pin_sha256` says: the SHA-256 of its public \
                 key is {digest}"
            ),
            Self::Unusable(what) => write!(f, "the certificate {what}"),
        }
    }
}

impl Display for UntrustedReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned => write!(f, "the certificate is self-signed, and it is not trusted"),
            Self::UnknownAuthority(name) => {
                write!(f, "the certificate is signed by an unknown authority, {name}")
            }
            Self::IncompleteChain(name) => write!(
                f,
                "the certificate is signed by {name}, which is not a trusted authority and whose certificate the \
                 receiver does not send: if it is an intermediate one, the receiver must send it"
            ),
        }
    }
}

impl std::error::Error for CertificateFault {}
