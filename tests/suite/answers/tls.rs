//! TLS failures, with a certificate authority of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthaste_tests::{Home, Process};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::raw::{Raw, answer, first_error, request};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Returns an acceptor with a certificate for `name` that this authority signed and that expired at the end of `last_year`.
fn signed(authority: &Authority, name: &str, last_year: i32) -> TlsAcceptor {
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
    for (bad, error) in [
        (self_signed("127.0.0.1"), "TLS: the certificate is not signed by an authority that this system trusts"),
        (signed(&authority("another"), "127.0.0.1", 2999), "TLS: the certificate is not signed by an authority"),
        (signed(&ca, "127.0.0.1", 2020), "TLS: invalid peer certificate: certificate expired"),
        (signed(&ca, "hook.test", 2999), "TLS: invalid peer certificate: certificate not valid for name \"127.0.0.1\""),
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
