//! The clients against real sockets on loopback.

use std::future::pending;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::{Outbound, UnguardedAnswer, UnguardedClient, UnguardedRequest};
use super::*;
use crate::clock::SystemClock;
use crate::metrics::Metrics;
use crate::shares::ShareTotals;

mod names;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn guard(allowed: &str) -> Guard {
    Guard::new(vec![allowed.parse().unwrap()], false)
}

fn trust() -> Trust {
    Trust::load(Vec::new(), Arc::new(SystemClock)).unwrap()
}

fn options(guard: Guard, attempt_timeout: Duration) -> OutboundOptions {
    OutboundOptions { guard, trust: trust(), attempt_timeout, connection_max_age: LONG, second_sockets: 8 }
}

fn shares() -> Shares {
    let totals = ShareTotals { client_connections: 8, idle_connections: 16, dns_lookups: 8, pings: 8 };
    Shares::new(totals, &Metrics::new(0, []))
}

fn outbound(timeout: Duration) -> Outbound {
    Outbound::new(options(guard("127.0.0.0/8"), timeout), &shares()).unwrap()
}

fn resolving(guard: Guard, timeout: Duration, resolver: Arc<dyn Resolver>) -> Outbound {
    Outbound::with_resolver(options(guard, timeout), resolver, &shares()).unwrap()
}

fn request_to(target: &Target, headers: HeaderMap) -> PostRequest<'_> {
    PostRequest { company: "acme", target, tls: None, headers, body: Bytes::from_static(b"{}"), timeout: None }
}

async fn post(outbound: &Outbound, url: &str) -> PostResult {
    let target = outbound.guard().parse_target(url).unwrap();
    let headers = [("content-type", "application/json")].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
    let sent = outbound.post(request_to(&target, HeaderMap::from_iter(headers))).await;
    assert_ne!(sent.status.is_some(), sent.error.is_some(), "{sent:?}");
    assert!(!format!("{sent:?}").contains("s3cret"), "{sent:?}");
    sent
}

/// Reads one request with a body of known length; `None` if the connection has ended.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers each request on each connection; the channel gets the requests, each with its connection's number.
async fn server(ip: [u8; 4], port: u16, answer: &'static [u8]) -> (SocketAddr, UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind(SocketAddr::from((ip, port))).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (seen, requests) = unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                while let Some(text) = request(&mut stream).await {
                    let _ = seen.send((number, text));
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    (addr, requests)
}

/// Takes one request and hands the connection to `then`.
async fn once<F: Future<Output = ()> + Send>(then: impl FnOnce(TcpStream) -> F + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        then(stream).await;
    });
    addr
}

#[tokio::test]
async fn a_post_arrives_and_its_connection_is_reused() {
    let (addr, mut requests) = server([127, 0, 0, 1], 0, OK).await;
    let outbound = outbound(LONG);
    for _ in 0..3 {
        let sent = post(&outbound, &format!("http://{addr}/hook?k=s3cret")).await;
        assert_eq!((sent.status, sent.body.as_slice(), sent.retry_after), (Some(200), &b"ok"[..], None));
        let (connection, text) = requests.recv().await.unwrap();
        assert_eq!(connection, 0);
        assert!(text.starts_with("POST /hook?k=s3cret HTTP/1.1\r\n") && text.ends_with("\r\n\r\n{}"), "{text}");
        assert!(text.contains("content-type: application/json\r\n"), "{text}");
        assert!(!text.contains("user-agent") && !text.contains("accept-encoding"), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let answer = b"HTTP/1.1 307 Elsewhere\r\nlocation: /other\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n";
    let (addr, mut requests) = server([127, 0, 0, 1], 0, answer).await;
    let sent = post(&outbound(LONG), &format!("http://{addr}/")).await;
    assert_eq!((sent.status, sent.retry_after.as_deref()), (Some(307), Some("120")));
    requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn at_most_16_kib_of_an_endless_answer_are_read() {
    let (stopped, has_stopped) = tokio::sync::oneshot::channel();
    let addr = once(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
        let _ = stopped.send(());
    })
    .await;
    let sent = post(&outbound(LONG), &format!("http://{addr}/")).await;
    assert_eq!((sent.status, sent.body), (Some(200), vec![b'x'; MAX_ANSWER_BYTES]));
    assert!(sent.duration < LONG);
    has_stopped.await.unwrap();
}

#[tokio::test]
async fn an_answer_of_exactly_16_kib_is_read_to_its_end() {
    let body = "y".repeat(MAX_ANSWER_BYTES);
    let answer = format!("HTTP/1.1 500 Oops\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (addr, mut requests) = server([127, 0, 0, 1], 0, answer.leak().as_bytes()).await;
    let outbound = outbound(LONG);
    for _ in 0..2 {
        let sent = post(&outbound, &format!("http://{addr}/")).await;
        assert_eq!((sent.status, sent.body), (Some(500), body.clone().into_bytes()));
        assert_eq!(requests.recv().await.unwrap().0, 0);
    }
}

#[tokio::test]
async fn the_status_decides_though_the_body_stalls_or_breaks() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let stalls = once(async |mut stream| {
        stream.write_all(head).await.unwrap();
        pending().await
    });
    let breaks = once(async |mut stream| stream.write_all(head).await.unwrap());
    for (addr, timeout) in [(stalls.await, SHORT), (breaks.await, LONG)] {
        let sent = post(&outbound(timeout), &format!("http://{addr}/")).await;
        assert_eq!((sent.status, sent.body.as_slice()), (Some(200), &b"abc"[..]));
        assert!((timeout == SHORT) == (sent.duration >= SHORT) && sent.duration < LONG, "{:?}", sent.duration);
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_is_not_waited_for_until_the_attempt_times_out() {
    let addr = once(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nabc").await.unwrap();
        pending().await
    })
    .await;
    let sent = post(&outbound(LONG), &format!("http://{addr}/")).await;
    assert_eq!((sent.status, sent.body.as_slice()), (Some(200), &b"abc"[..]));
    assert!(sent.duration >= BODY_TIMEOUT && sent.duration < LONG / 2, "{:?}", sent.duration);
}

#[tokio::test]
async fn an_answer_with_many_headers_is_an_answer_and_one_with_an_endless_head_is_not() {
    let head = |count| (0..count).map(|number| format!("x-{number}: {number}\r\n")).collect::<String>();
    for (count, expected) in [(1_000, Some(200)), (1_025, None)] {
        let answer = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", head(count));
        let (addr, _requests) = server([127, 0, 0, 1], 0, answer.leak().as_bytes()).await;
        let sent = post(&outbound(LONG), &format!("http://{addr}/")).await;
        assert_eq!(sent.status, expected, "{sent:?}");
        assert!(expected.is_some() || sent.error.as_deref() == Some("the head of the answer is too large"), "{sent:?}");
    }
    let addr = once(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(b"x: y\r\n").await.is_ok() {}
    })
    .await;
    let sent = post(&outbound(LONG), &format!("http://{addr}/")).await;
    assert_eq!(sent.error.as_deref(), Some("the head of the answer is too large"));
}

#[tokio::test]
async fn a_head_of_up_to_32_kib_is_an_answer_of_which_only_the_first_headers_are_kept() {
    for (kib, expected) in [(31, Some(200)), (65, None)] {
        let lines = format!("x: {}\r\n", "y".repeat(1_024 - 5)).repeat(kib);
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n");
        let (addr, _requests) = server([127, 0, 0, 1], 0, answer.leak().as_bytes()).await;
        let sent = post(&outbound(LONG), &format!("http://{addr}/")).await;
        assert_eq!(
            (sent.status, sent.headers.len()),
            (expected, expected.map_or(0, |_| 8)),
            "{kib} KiB: {:?}",
            sent.error
        );
    }
    let head = Bytes::from(vec![b'v'; MAX_ANSWER_HEADER_BYTES]);
    let value = HeaderValue::from_maybe_shared(head.slice(..8)).unwrap();
    assert_eq!(value.as_bytes().as_ptr(), head.as_ptr(), "a value is a part of the head");
    let kept = first_headers(&HeaderMap::from_iter([("x-a".parse().unwrap(), value)]));
    assert_ne!(kept["x-a"].as_bytes().as_ptr(), head.as_ptr(), "the copy does not keep the head");
}

#[tokio::test]
async fn a_connection_is_not_reused_when_it_is_old_or_its_target_was_closed() {
    let (addr, mut requests) = server([127, 0, 0, 1], 0, OK).await;
    let url = format!("http://{addr}/");
    let aging = OutboundOptions { connection_max_age: Duration::ZERO, ..options(guard("127.0.0.0/8"), LONG) };
    let aging = Outbound::new(aging, &shares()).unwrap();
    for number in 0..2 {
        assert_eq!(post(&aging, &url).await.status, Some(200));
        assert_eq!(requests.recv().await.unwrap().0, number);
    }
    let reusing = outbound(LONG);
    for number in [2, 2, 3] {
        if number == 3 {
            reusing.close_idle("acme", &reusing.guard().parse_target(&url).unwrap(), None);
        }
        assert_eq!(post(&reusing, &url).await.status, Some(200));
        assert_eq!(requests.recv().await.unwrap().0, number);
    }
}

#[tokio::test]
async fn an_attempt_without_an_answer_times_out_with_an_error() {
    let addr = once(async |_stream| pending().await).await;
    let sent = post(&outbound(SHORT), &format!("http://{addr}/?k=s3cret")).await;
    assert_eq!(sent.error.as_deref(), Some("no answer within 300 ms"));
    assert!(sent.duration >= SHORT && sent.duration < LONG, "{:?}", sent.duration);
}

#[tokio::test]
async fn each_failure_names_its_phase_and_address() {
    let outbound = outbound(LONG);
    // Bound, so that no other test gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let closed = socket.local_addr().unwrap();
    let sent = post(&outbound, &format!("http://{closed}/?k=s3cret")).await;
    assert_eq!(sent.error, Some(format!("connection refused by {closed}")));

    let hangs_up = once(async |stream| drop(stream)).await;
    let sent = post(&outbound, &format!("http://{hangs_up}/?k=s3cret")).await;
    assert_eq!(sent.error.as_deref(), Some("the connection was closed before an answer"));

    let resets = once(async |stream| stream.set_zero_linger().unwrap()).await;
    let sent = post(&outbound, &format!("http://{resets}/?k=s3cret")).await;
    assert_eq!(sent.error.as_deref(), Some("the connection was reset before an answer"));

    let (babbles, _requests) = server([127, 0, 0, 1], 0, b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let error = post(&outbound, &format!("http://{babbles}/?k=s3cret")).await.error.unwrap();
    assert!(error.starts_with("the answer is not HTTP: "), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        pending::<()>().await;
    });
    let error = post(&outbound(LONG), &format!("https://{addr}/?k=s3cret")).await.error.unwrap();
    assert!(error.starts_with("TLS: "), "{error}");
}

#[test]
fn an_attempt_takes_up_to_an_hour() {
    for (timeout, fine) in [(0, false), (1, true), (3600, true), (3601, false), (u64::MAX, false)] {
        let built = Outbound::new(options(guard("127.0.0.0/8"), Duration::from_secs(timeout)), &shares());
        assert_eq!(built.is_ok(), fine, "{timeout}");
    }
}

fn ok_answer() -> UnguardedAnswer {
    UnguardedAnswer { status: 200, body: Bytes::from_static(b"ok") }
}

async fn get(client: UnguardedClient, url: &str) -> Result<UnguardedAnswer, String> {
    let request = UnguardedRequest { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() };
    client.call(request, |_| ()).await
}

#[tokio::test]
async fn the_unguarded_client_sends_a_length_and_reports_progress() {
    let (addr, mut requests) = server([127, 0, 0, 1], 0, OK).await;
    let (report, mut reports) = unbounded_channel();
    let body = Bytes::from(vec![b'w'; 200_000]);
    let progress = move |sent| report.send(sent).unwrap();
    let client = UnguardedClient::new(LONG);
    let url = format!("http://{addr}/p");
    let request = UnguardedRequest { method: Method::PUT, url: &url, headers: HeaderMap::new(), body };
    assert_eq!(client.call(request, progress).await, Ok(ok_answer()));
    let (_, text) = requests.recv().await.unwrap();
    assert!(text.starts_with("PUT /p ") && text.contains("content-length: 200000\r\n"), "{}", &text[..300]);
    assert!(!text.contains("transfer-encoding"));
    let mut seen = Vec::new();
    while let Some(sent) = reports.recv().await {
        seen.push(sent);
    }
    assert_eq!(seen, [65536, 131_072, 196_608, 200_000]);
    assert_eq!(get(client, &format!("http://{addr}/")).await, Ok(ok_answer()));
    assert!(get(client, "ftp://hook.test/").await.unwrap_err().contains("https://"));
}

#[tokio::test]
async fn the_unguarded_client_bounds_an_answer() {
    let addr = once(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    })
    .await;
    let error = get(UnguardedClient::new(LONG), &format!("http://{addr}/")).await.unwrap_err();
    assert!(error.contains("longer than 1 MiB"), "{error}");
}
