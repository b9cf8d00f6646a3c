//! Name resolution: the guard checks the resolved addresses, and the client dials only those that it checked.

use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::super::resolve::ResolveFuture;
use super::*;

/// Answers each lookup with the addresses of the last `rebind`.
struct Fake {
    ips: Mutex<Vec<IpAddr>>,
    calls: AtomicUsize,
}

impl Fake {
    fn new(ips: &[[u8; 4]]) -> Arc<Self> {
        let fake = Arc::new(Self { ips: Mutex::default(), calls: AtomicUsize::new(0) });
        fake.rebind(ips);
        fake
    }

    fn rebind(&self, ips: &[[u8; 4]]) {
        *self.ips.lock().unwrap() = ips.iter().map(|ip| IpAddr::from(*ip)).collect();
    }
}

impl Resolver for Fake {
    fn resolve(&self, _: &str) -> ResolveFuture {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let ips = self.ips.lock().unwrap().clone();
        Box::pin(async { Ok(ips) })
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused_when_connecting() {
    let (addr, mut requests) = server([127, 0, 0, 1], 0, OK).await;
    let fake = Fake::new(&[[127, 0, 0, 1]]);
    let outbound = resolving(guard("10.0.0.0/8"), LONG, fake);
    for scheme in ["http", "https"] {
        let sent = post(&outbound, &format!("{scheme}://hook.test:{}/?k=s3cret", addr.port())).await;
        let error = sent.error.unwrap();
        assert!(error.starts_with("the address 127.0.0.1 of hook.test may not be reached: "), "{error}");
    }
    assert!(requests.try_recv().is_err());
    let error = outbound.check_target("acme", "https://hook.test/").await.unwrap_err();
    assert!(error.starts_with("the address 127.0.0.1 of hook.test may not be reached: "), "{error}");
}

#[tokio::test]
async fn an_ip_literal_is_checked_again_before_each_send() {
    let (addr, mut requests) = server([127, 0, 0, 1], 0, OK).await;
    let target = guard("127.0.0.0/8").parse_target(&format!("http://{addr}/")).unwrap();
    let strict = Outbound::new(options(Guard::new(Vec::new(), true), LONG), &shares()).unwrap();
    let sent = strict.post(request_to(&target, HeaderMap::new())).await;
    assert!(sent.error.unwrap().starts_with("127.0.0.1 is a loopback address"));
    assert!(requests.try_recv().is_err());
}

// Other systems have no 127.0.0.2 by default.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn only_allowed_addresses_are_dialled_after_one_lookup() {
    let (addr, mut forbidden) = server([127, 0, 0, 1], 0, OK).await;
    let (_, mut allowed) = server([127, 0, 0, 2], addr.port(), OK).await;
    let fake = Fake::new(&[[127, 0, 0, 1], [127, 0, 0, 2]]);
    let outbound = resolving(guard("127.0.0.2/32"), LONG, Arc::clone(&fake) as _);
    let sent = post(&outbound, &format!("http://hook.test:{}/", addr.port())).await;
    assert_eq!(sent.status, Some(200), "{sent:?}");
    let (_, text) = allowed.try_recv().unwrap();
    assert!(text.contains(&format!("host: hook.test:{}\r\n", addr.port())), "{text}");
    assert!(forbidden.try_recv().is_err());
    assert_eq!(fake.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_error_of_a_failed_lookup_names_the_host() {
    struct Nowhere;
    impl Resolver for Nowhere {
        fn resolve(&self, _: &str) -> ResolveFuture {
            Box::pin(async { Err(io::Error::other("Name or service not known")) })
        }
    }
    let nowhere = resolving(guard("127.0.0.0/8"), LONG, Arc::new(Nowhere));
    let nothing = resolving(guard("127.0.0.0/8"), LONG, Fake::new(&[]));
    for (outbound, cause) in [(nowhere, "Name or service not known"), (nothing, "the name has no addresses")] {
        let sent = post(&outbound, "https://hook.test/?k=s3cret").await;
        assert_eq!(sent.error, Some(format!("could not resolve hook.test: {cause}")));
        assert!(outbound.check_target("acme", "https://hook.test/").await.is_ok());
    }
}

// Other systems have no 127.0.0.2 by default.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_rebound_name_reaches_only_addresses_that_were_checked() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, mut forbidden) = server([127, 0, 0, 1], port, OK).await;
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let allowed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            request(&mut stream).await.unwrap();
            stream.write_all(OK).await.unwrap();
        }
        closed.await.unwrap();
    });
    let fake = Fake::new(&[[127, 0, 0, 2]]);
    let outbound = resolving(guard("127.0.0.2/32"), LONG, Arc::clone(&fake) as _);
    let url = format!("http://hook.test:{port}/");
    outbound.check_target("acme", &url).await.unwrap();
    assert_eq!(post(&outbound, &url).await.status, Some(200));
    // From here on the name resolves to loopback: the open connection still leads to the checked address.
    fake.rebind(&[[127, 0, 0, 1]]);
    assert_eq!(post(&outbound, &url).await.status, Some(200));
    close.send(()).unwrap();
    allowed.await.unwrap();
    // The next request needs a new connection, also if it is sent a second time after a stale one.
    let error = post(&outbound, &url).await.error.unwrap();
    assert!(error.starts_with("the address 127.0.0.1 of hook.test may not be reached: "), "{error}");
    assert!(forbidden.try_recv().is_err());
}

#[tokio::test]
async fn a_bad_port_of_a_public_address_is_refused() {
    let outbound = resolving(guard("127.0.0.0/8"), SHORT, Fake::new(&[[93, 184, 216, 34]]));
    let error = post(&outbound, "https://hook.test:25/").await.error.unwrap();
    assert!(error.contains("93.184.216.34 is a public address, and port 25 is another protocol's"), "{error}");
    let error = outbound.check_target("acme", "https://hook.test:25/").await.unwrap_err();
    assert!(error.contains("port 25 is another protocol's"), "{error}");
}

#[tokio::test]
async fn a_lookup_that_never_ends_times_out_with_a_dns_error() {
    struct Silent;
    impl Resolver for Silent {
        fn resolve(&self, _: &str) -> ResolveFuture {
            Box::pin(pending())
        }
    }
    let outbound = resolving(guard("127.0.0.0/8"), SHORT, Arc::new(Silent));
    for scheme in ["http", "https"] {
        let error = post(&outbound, &format!("{scheme}://hook.test/?k=s3cret")).await.error.unwrap();
        assert_eq!(error, "could not resolve hook.test: no answer from DNS within 300 ms");
    }
}
