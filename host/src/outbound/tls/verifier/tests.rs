//! Which certificates are accepted, and the sentences about the others.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;

use super::super::samples::{Authority, authority, for_names, intermediate, self_signed, signed};
use super::*;

/// 2026-11-30.
const NOW: Duration = Duration::from_secs(1_796_000_000);

fn verifier(trusted: &[&CertificateDer<'static>], pin: Option<[u8; 32]>) -> Verifier {
    let mut anchors = Anchors::none();
    assert!(trusted.iter().all(|certificate| anchors.add((*certificate).clone())));
    let anchors = (!anchors.is_empty()).then_some(anchors);
    let algorithms = default_provider().signature_verification_algorithms;
    Verifier { anchors, pin, advice: "trust it", algorithms }
}

/// Returns the sentence about a chain, or an empty text if it is accepted for `a.test`.
fn verdict(verifier: &Verifier, own: &CertificateDer<'static>, others: &[&CertificateDer<'static>]) -> String {
    let others: Vec<_> = others.iter().map(|other| (*other).clone()).collect();
    let name = ServerName::try_from("a.test").unwrap();
    let checked = verifier.check(own, &others, &name, UnixTime::since_unix_epoch(NOW));
    checked.map_or_else(|fault| fault.to_string(), |()| String::new())
}

fn leaf(ca: &Authority, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = for_names(&["a.test"]);
    change(&mut params);
    signed(params, ca).der().clone()
}

#[test]
fn each_fault_of_a_certificate_is_named() {
    let (ca, unknown) = (authority("Acme Internal CA"), authority("Second CA"));
    let between = intermediate("Issuing CA 7", &ca);
    let trusting = verifier(&[ca.der()], None);
    let fits = |_: &mut CertificateParams| ();
    let many: Vec<_> = (0..90).map(|number| format!("name{number}.cdn.example")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let alone = self_signed(for_names(&["a.test"]));
    let mut namesake = for_names(&["a.test"]);
    namesake.distinguished_name.push(DnType::CommonName, "Acme Internal CA");
    let namesake = namesake.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let itself = ca.der();
    for (own, others, expected) in [
        (leaf(&ca, fits), vec![], ""),
        (leaf(&between, fits), vec![between.der()], ""),
        (
            leaf(&ca, |p| p.not_after = date_time_ymd(2020, 12, 31)),
            vec![],
            "the certificate has been expired since 2020-12-31T00:00:00Z",
        ),
        (
            leaf(&ca, |p| p.not_before = date_time_ymd(2030, 1, 1)),
            vec![],
            "the certificate is not valid before 2030-01-01T00:00:00Z",
        ),
        (
            signed(for_names(&["b.test", "127.0.0.1"]), &ca).der().clone(),
            vec![],
            "the certificate is not for a.test, but for b.test, 127.0.0.1",
        ),
        (
            signed(for_names(&many), &ca).der().clone(),
            vec![],
            "the certificate is not for a.test, but for name0.cdn.example, name1.cdn.example, name2.cdn.example, \
             name3.cdn.example and 86 other names",
        ),
        (
            signed(for_names(&[]), &ca).der().clone(),
            vec![],
            "the certificate names no host (it has no subjectAltName), so it is not for a.test",
        ),
        (namesake.der().clone(), vec![], "the certificate is self-signed, and it is not trusted; trust it"),
        (alone.der().clone(), vec![], "the certificate is self-signed, and it is not trusted; trust it"),
        (
            leaf(&unknown, fits),
            vec![unknown.der()],
            "the certificate is signed by an unknown authority, Second CA; trust it",
        ),
        (
            leaf(&between, fits),
            vec![],
            "the certificate is signed by Issuing CA 7, which is not a trusted authority and whose certificate the receiver \
             does not send: if it is an intermediate one, the receiver must send it; trust it",
        ),
        (
            leaf(&authority("Acme Internal CA"), fits),
            vec![],
            "the certificate has a signature that is not its issuer's: the authority of that name has another key, or one \
             that is too short",
        ),
        (
            leaf(&ca, |p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth)),
            vec![],
            "the certificate is not for servers: its extended key usage lacks serverAuth",
        ),
        (between.der().clone(), vec![], "the certificate is that of an authority (CA:TRUE), not that of a server"),
        (CertificateDer::from(itself[..itself.len() - 1].to_vec()), vec![], "the certificate is malformed"),
    ] {
        assert_eq!(verdict(&trusting, &own, &others), expected);
    }
}

#[test]
fn certificate_of_an_authority_that_has_expired_is_not_taken_for_the_receivers() {
    let ca = authority("Acme");
    let mut params = for_names(&[]);
    params.distinguished_name.push(DnType::CommonName, "Old");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2020, 1, 1);
    let old = Authority::signed_by(params, KeyPair::generate().unwrap(), &ca).unwrap();
    let own = leaf(&old, |_| ());
    let expected = "a certificate of the receiver's authorities has been expired since 2020-01-01T00:00:00Z";
    assert_eq!(verdict(&verifier(&[ca.der()], None), &own, &[old.der()]), expected);
}

#[test]
fn self_signed_certificate_is_accepted_if_it_is_trusted_and_its_dates_and_names_fit() {
    let good = self_signed(for_names(&["a.test"]));
    assert_eq!(verdict(&verifier(&[good.der()], None), good.der(), &[]), "");
    let mut expired = for_names(&["a.test"]);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut later = for_names(&["a.test"]);
    later.not_before = date_time_ymd(2030, 1, 1);
    for (params, part) in [
        (expired, "expired since 2020-01-01T00:00:00Z"),
        (later, "not valid before 2030-01-01T00:00:00Z"),
        (for_names(&["b.test"]), "is not for a.test, but for b.test"),
    ] {
        let certificate = self_signed(params);
        let text = verdict(&verifier(&[certificate.der()], None), certificate.der(), &[]);
        assert!(text.contains(part), "{text}");
    }
    // The same names and another key: nobody said that this one is trusted.
    let other = self_signed(for_names(&["a.test"]));
    assert!(verdict(&verifier(&[good.der()], None), other.der(), &[]).contains("self-signed"));
}

#[test]
fn pin_decides_alone_and_together_with_authorities() {
    let (ca, unknown) = (authority("Acme"), authority("Unknown"));
    let pin = |certificate: &CertificateDer<'_>| {
        let certificate = EndEntityCert::try_from(certificate).unwrap();
        digest(&SHA256, &certificate.subject_public_key_info()).as_ref().try_into().ok()
    };
    let (own, other) = (leaf(&ca, |_| ()), leaf(&ca, |_| ()));
    let foreign = leaf(&unknown, |_| ());
    let expired = leaf(&unknown, |p| p.not_after = date_time_ymd(2020, 1, 1));
    for (trusted, pinned, presented, part) in [
        (None, &foreign, &foreign, ""),
        (None, &own, &other, "has another key than the webhook's `tls.pin_sha256` says"),
        (None, &expired, &expired, "expired since 2020"),
        (Some(ca.der()), &own, &own, ""),
        (Some(ca.der()), &own, &other, "has another key"),
        (Some(ca.der()), &foreign, &foreign, "signed by Unknown"),
    ] {
        let trusted: Vec<_> = trusted.into_iter().collect();
        let text = verdict(&verifier(&trusted, pin(pinned)), presented, &[]);
        assert!(text.contains(part) && text.is_empty() == part.is_empty(), "{text}");
    }
    let text = verdict(&verifier(&[], Some([7; 32])), &own, &[]);
    assert!(text.ends_with(&hex(&pin(&own).unwrap())), "{text}");
}
