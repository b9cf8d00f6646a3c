//! TLS failures, with a certificate authority of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthaste_tests::{Home, Process};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::raw::{Raw, answer, first_error, request};

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Returns an acceptor with a certificate for `name` that this authority signed and that expired at the end of `last_year`.
pub(super) fn signed(authority: &Authority, name: &str, last_year: i32) -> TlsAcceptor {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    let key = KeyPair::generate().unwrap();
    acceptor(params.signed_by(&key, authority).unwrap().der().clone(), &key)
}

fn self_signed(name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    acceptor(certificate.der().clone(), &key)
}

/// Returns an acceptor that wants a certificate of the client.
fn requiring_client(authority: &Authority, version: &'static SupportedProtocolVersion) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let builder = builder.with_client_cert_verifier(clients);
    TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()))
}

/// Starts a process that trusts only this authority.
async fn trusting(authority: &Authority, home: &Home) -> Process {
    let file = home.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let trust = [("SSL_CERT_FILE", file.to_str().unwrap()), ("SSL_CERT_DIR", "")];
    Process::serve_in(&trust, home, &["--retry-schedule=20ms,20ms,20ms", "--attempt-timeout=5s"]).await
}

#[tokio::test]
async fn bad_certificate_is_named_and_a_corrected_one_heals() {
    let (folder, ca) = (Home::new().await, authority("trusted"));
    let process = trusting(&ca, &folder).await;
    let good = signed(&ca, "127.0.0.1", 2999);
    let another = authority("another");
    for (bad, error) in [
        (self_signed("127.0.0.1"), "TLS: the certificate is self-signed, and it is not trusted; to trust it, set "),
        (
            signed(&another, "127.0.0.1", 2999),
            "TLS: the certificate is signed by another, which is not a trusted authority",
        ),
        (signed(&ca, "127.0.0.1", 2020), "TLS: the certificate has been expired since 2020-12-31T00:00:00Z"),
        (signed(&ca, "hook.test", 2999), "TLS: the certificate is not for 127.0.0.1, but for hook.test"),
    ] {
        let good = good.clone();
        let raw = Raw::start(move |number, stream| {
            let acceptor = if number == 0 { bad.clone() } else { good.clone() };
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream).await;
                }
            }
        })
        .await;
        let said = first_error(&process.client, &raw.url().replace("http:", "https:")).await;
        assert!(said.starts_with(error), "{said}");
    }
}

#[tokio::test]
async fn failed_tls_handshake_is_named() {
    let (folder, ca) = (Home::new().await, authority("trusted"));
    let process = trusting(&ca, &folder).await;
    let good = signed(&ca, "127.0.0.1", 2999);
    for (kind, error) in [
        ("plaintext", "TLS: the receiver does not speak TLS on this port"),
        ("speaks TLS 1.0", "TLS: the receiver speaks only an outdated version of TLS"),
        (
            "refuses",
            "TLS: the receiver refused the handshake: it offers only outdated ciphers, or requires a client certificate",
        ),
        ("closes", "TLS: 127.0.0.1:PORT closed the connection during the handshake"),
        ("resets", "127.0.0.1:PORT reset the connection while connecting"),
        ("stalls", "no TLS connection to 127.0.0.1:PORT within 5 s"),
        ("closes after the handshake", "the connection was closed before an answer"),
    ] {
        let good = good.clone();
        let raw = Raw::start(move |number, mut stream| {
            let good = good.clone();
            async move {
                match (number, kind) {
                    (0, "closes after the handshake") => {
                        let mut stream = good.accept(stream).await.unwrap();
                        request(&mut stream).await;
                        stream.shutdown().await.unwrap();
                    }
                    (0, _) => {
                        let mut hello = [0; 4096];
                        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await;
                        match kind {
                            "plaintext" => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap(),
                            // A TLS 1.0 alert `protocol_version`, and a `handshake_failure`.
                            "speaks TLS 1.0" => stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await.unwrap(),
                            "refuses" => stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await.unwrap(),
                            "resets" => stream.set_zero_linger().unwrap(),
                            "stalls" => std::future::pending().await,
                            _ => {}
                        }
                    }
                    _ => answer(good.accept(stream).await.unwrap()).await,
                }
            }
        })
        .await;
        let said = first_error(&process.client, &raw.url().replace("http:", "https:")).await;
        let error = error.replace("PORT", &raw.address.port().to_string());
        assert!(said.starts_with(&error), "{kind}: {said}");
    }
}

#[tokio::test]
async fn client_certificate_that_the_receiver_requires_is_named() {
    let (folder, ca) = (Home::new().await, authority("trusted"));
    let process = trusting(&ca, &folder).await;
    for version in [&TLS12, &TLS13] {
        let (strict, open) = (requiring_client(&ca, version), signed(&ca, "127.0.0.1", 2999));
        let raw = Raw::start(move |number, stream| {
            let (strict, open) = (strict.clone(), open.clone());
            async move {
                if number > 0 {
                    return answer(open.accept(stream).await.unwrap()).await;
                }
                // Reads until the client closes: a connection that is closed before that loses the alert.
                let refused = strict.accept(stream).into_fallible().await;
                if let Err((_, mut stream)) = refused {
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                }
            }
        })
        .await;
        let said = first_error(&process.client, &raw.url().replace("http:", "https:")).await;
        assert!(said.starts_with("TLS: ") && said.contains("requires a client certificate"), "{version:?}: {said}");
    }
}

#[tokio::test]
async fn self_signed_certificate_is_accepted_if_the_operator_trusts_it() {
    let (folder, key) = (Home::new().await, KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    // As `openssl req -x509` does.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let file = folder.path().join("self.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    let trust = [("SSL_CERT_FILE", file.to_str().unwrap()), ("SSL_CERT_DIR", "")];
    let process = Process::serve_in(&trust, &folder, &[]).await;
    let acceptor = acceptor(certificate.der().clone(), &key);
    let raw = Raw::start(move |_, stream| {
        let acceptor = acceptor.clone();
        async move { answer(acceptor.accept(stream).await.unwrap()).await }
    })
    .await;
    let url = format!("https://localhost:{}/", raw.address.port());
    assert_eq!(super::attempts(&process.client, &url, &serde_json::json!(1)).await.len(), 1);
}

#[tokio::test]
async fn tls_connection_speaks_http_1_1_and_is_reused() {
    let (folder, ca) = (Home::new().await, authority("trusted"));
    let process = trusting(&ca, &folder).await;
    let (good, requests) = (signed(&ca, "localhost", 2999), Arc::new(AtomicUsize::new(0)));
    let counted = requests.clone();
    let raw = Raw::start(move |_, stream| {
        let (good, counted) = (good.clone(), counted.clone());
        async move {
            let mut stream = good.accept(stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            while request(&mut stream).await {
                counted.fetch_add(1, Ordering::SeqCst);
                stream.write_all(super::OK).await.unwrap();
            }
        }
    })
    .await;
    let url = format!("https://localhost:{}/", raw.address.port());
    for _ in 0..3 {
        assert_eq!(super::attempts(&process.client, &url, &serde_json::json!(1)).await.len(), 1);
    }
    assert_eq!((raw.connections(), requests.load(Ordering::SeqCst)), (1, 3));
}
