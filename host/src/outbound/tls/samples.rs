//! Certificates of unit tests.

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

/// Returns the parameters of a certificate for these names, valid from 2000 to 2999.
pub(super) fn for_names(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2999, 1, 1));
    params
}

/// Returns an authority of this name.
pub(super) fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

/// Returns an authority of this name below another.
pub(super) fn intermediate(name: &str, issuer: &Authority) -> Authority {
    CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate().unwrap(), issuer).unwrap()
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = for_names(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Signs a certificate with a new key.
pub(super) fn signed(params: CertificateParams, issuer: &Authority) -> Certificate {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap()
}

/// Returns a self-signed certificate, like `openssl req -x509`, which makes it an authority.
pub(super) fn self_signed(mut params: CertificateParams) -> Certificate {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}
