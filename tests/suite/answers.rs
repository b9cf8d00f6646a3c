//! Receiver behaviour during an attempt: each failure has its own error text, takes at most the time-out, and the next
//! attempt can succeed.

mod bodies;
mod raw;
mod tls;
mod trust;

use std::future::pending;
use std::time::Duration;

use posthaste_tests::{Host, until};
use raw::{OK, Raw, answer, attempts, first_error, request, say};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const CLOSED: &str = "the connection was closed before an answer";
const RESET: &str = "the connection was reset before an answer";
const LATE: &str = "no answer within 500 ms";

/// Starts a host with a short attempt time-out, and with enough retries for one to reach a receiver that has recovered.
async fn impatient() -> Host {
    Host::with(&["--attempt-timeout=500ms", &format!("--retry-schedule={}", ["20ms"; 100].join(","))]).await
}

/// Writes byte by byte until the reader closes the connection.
async fn trickle(mut stream: TcpStream, bytes: impl Iterator<Item = u8>) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for byte in bytes {
        pace.tick().await;
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn missing_response_ends_at_the_time_out() {
    let host = impatient().await;
    let silent = Raw::first(async |stream| {
        let _open = say(stream, b"").await;
        pending().await
    });
    let trickles = Raw::first(async |stream| {
        let head = b"HTTP/1.1 200 OK\r\nx-slow: ".iter().copied().chain(std::iter::repeat(b'x'));
        trickle(say(stream, b"").await, head).await;
    });
    let interim = Raw::first(async |stream| {
        let mut stream = say(stream, b"").await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    });
    for raw in [silent.await, trickles.await, interim.await] {
        assert_eq!(first_error(&host, &raw.url()).await, LATE);
    }
}

#[tokio::test]
async fn receiver_that_reads_no_body_ends_at_the_time_out() {
    let host = impatient().await;
    let stuffed = Raw::first(async |stream| {
        let _open = stream;
        pending().await
    });
    let raw = stuffed.await;
    let attempts = attempts(&host, &raw.url(), &json!("x".repeat(200_000))).await;
    assert_eq!(attempts[0]["error"], LATE);
}

#[tokio::test]
async fn status_decides_even_if_the_body_breaks_off() {
    // Long enough for the head to arrive; a stalled body takes all of it.
    let host = Host::with(&["--attempt-timeout=5s"]).await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\nabc";
    let stalls = Raw::start(|_, stream| async {
        let _open = say(stream, head).await;
        pending().await
    });
    let trickles = Raw::start(|_, stream| async { trickle(say(stream, head).await, std::iter::repeat(b'd')).await });
    let breaks = Raw::start(|_, stream| async { drop(say(stream, head).await) });
    let resets = Raw::start(|_, stream| async { say(stream, head).await.set_zero_linger().unwrap() });
    let cases = [(stalls.await, true), (trickles.await, true), (breaks.await, true), (resets.await, false)];
    // Concurrently, because the first two take the whole time-out.
    let (host, data) = (&host, &json!(1));
    let ended = cases.iter().map(|(raw, whole)| async move { (attempts(host, &raw.url(), data).await, *whole) });
    for (attempts, whole) in futures_util::future::join_all(ended).await {
        assert_eq!((attempts.len(), &attempts[0]["status_code"]), (1, &json!(200)), "{attempts:?}");
        // A reset discards bytes that were not read yet.
        assert!(!whole || attempts[0]["response_body"].as_str().unwrap().starts_with("abc"), "{attempts:?}");
    }
    let bad = Raw::first(async |stream| {
        let _open = say(stream, b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nabc").await;
        pending().await
    });
    assert_eq!(first_error(host, &bad.await.url()).await, "the receiver answered 500");
}

#[tokio::test]
async fn endless_response_body_is_kept_up_to_16_kib() {
    // The attempt's time-out is longer than the test waits: it passes only if the rest of the body is not read.
    let host = Host::with(&["--attempt-timeout=10m"]).await;
    let endless = Raw::start(|_, stream| async {
        let mut stream = say(stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"5\r\nxxxxx\r\n").await.is_ok() {}
    });
    let attempts = attempts(&host, &endless.await.url(), &json!(1)).await;
    assert_eq!(attempts[0]["response_body"].as_str().unwrap().len(), 16 * 1024);
}

#[tokio::test]
async fn closed_and_reset_connections_have_different_errors() {
    let host = Host::start().await;
    let closes = Raw::first(async |stream| drop(say(stream, b"").await)).await;
    let closes_in_head = Raw::first(async |stream| drop(say(stream, b"HTTP/1.1 200 OK\r\nx-a: ").await)).await;
    let resets = Raw::first(async |stream| say(stream, b"").await.set_zero_linger().unwrap()).await;
    for (raw, error) in [(&closes, CLOSED), (&closes_in_head, CLOSED), (&resets, RESET)] {
        assert_eq!(first_error(&host, &raw.url()).await, error);
        // A new connection is never stale: no request was repeated within an attempt.
        assert_eq!(raw.connections(), 2, "{error}");
    }
    let resets_in_head =
        Raw::first(async |stream| say(stream, b"HTTP/1.1 200 OK\r\nx-a: ").await.set_zero_linger().unwrap()).await;
    // The operating system decides whether bytes before the reset are still delivered.
    let error = first_error(&host, &resets_in_head.url()).await;
    assert!([CLOSED, RESET].contains(&error.as_str()), "{error}");
    let at_once = Raw::first(async |stream| drop(stream)).await;
    let error = first_error(&host, &at_once.url()).await;
    assert!([CLOSED, RESET].contains(&error.as_str()), "{error}");
}

#[tokio::test]
async fn receiver_may_cut_off_a_large_body_or_answer_early() {
    let host = Host::start().await;
    let body = json!("x".repeat(250_000));
    let cuts = Raw::first(async |mut stream| {
        let _ = stream.read(&mut [0; 1024]).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let attempts_cut = attempts(&host, &cuts.url(), &body).await;
    assert_eq!(attempts_cut[0]["error"], RESET);
    let early = Raw::first(async |mut stream| {
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        // Reads the rest of the request, so that no reset discards the response.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    assert_eq!(attempts(&host, &early.url(), &body).await[0]["error"], "the receiver answered 413");
}

#[tokio::test]
async fn invalid_response_is_named() {
    let host = Host::start().await;
    let many: String = (0..2_000).map(|number| format!("x-{number}: 1\r\n")).collect();
    for (text, error) in [
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(), "the answer is not HTTP: "),
        ("HTTP/1.1 99 Low\r\n\r\n".into(), "the answer is not HTTP: "),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n".into(), "the answer is not HTTP: "),
        ("HTTP/1.1 200 OK\r\ncontent-length: nine\r\n\r\n".into(), "the answer is not HTTP: "),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "the head of the answer is too large"),
        ("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".into(), "the receiver answered 101"),
        ("HTTP/1.1 304 Same\r\n\r\n".into(), "the receiver answered 304"),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".into(), "the receiver answered 302"),
        ("HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n".into(), "the receiver answered 999"),
    ] {
        let text = text.leak().as_bytes();
        let raw = Raw::first(async |stream| answer(say(stream, text).await).await);
        let said = first_error(&host, &raw.await.url()).await;
        assert!(said.starts_with(error), "{said}");
    }
}

#[tokio::test]
async fn endless_response_head_is_cut_off() {
    let host = Host::start().await;
    let raw = Raw::first(async |stream| {
        let mut stream = say(stream, b"HTTP/1.1 200 OK\r\nx-a: ").await;
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    });
    assert_eq!(first_error(&host, &raw.await.url()).await, "the head of the answer is too large");
}

#[tokio::test]
async fn success_needs_no_body() {
    let host = Host::start().await;
    for text in ["HTTP/1.1 204 Nothing\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nold", "HTTP/1.1 299 Odd\r\n\r\n"] {
        let raw = Raw::start(move |_, stream| async move { drop(say(stream, text.as_bytes()).await) }).await;
        assert_eq!(attempts(&host, &raw.url(), &json!(1)).await.len(), 1, "{text}");
    }
    let interim = b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Nothing\r\n\r\n";
    let raw = Raw::start(|_, stream| async { drop(say(stream, interim).await) }).await;
    assert_eq!(attempts(&host, &raw.url(), &json!(1)).await.len(), 1);
}

#[tokio::test]
async fn refused_connection_is_named() {
    let host = impatient().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    host.post("/webhooks", &json!({"type": "t", "target_url": format!("http://{address}/")})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    let failed = host.delivery_when(&id, "an attempt", |delivery| delivery["attempt_count"] != 0).await;
    assert_eq!(failed["attempts"][0]["error"], format!("connection refused by {address}"));
}

// The length of the accept queue before further connections are ignored is specific to Linux.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn unaccepted_connection_ends_at_the_time_out() {
    let host = impatient().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let _waiting = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    host.post("/webhooks", &json!({"type": "t", "target_url": format!("http://{address}/")})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    let failed = host.delivery_when(&id, "an attempt", |delivery| delivery["attempt_count"] != 0).await;
    assert_eq!(failed["attempts"][0]["error"], format!("no connection to {address} within 500 ms"));
    let _raw = Raw::on(listener, |_, stream| answer(stream));
    host.delivery(&id, "delivered").await;
}

#[tokio::test]
async fn unresolvable_name_is_named() {
    let host = Host::with(&["--retry-schedule=20ms,1h"]).await;
    host.post("/webhooks", &json!({"type": "t", "target_url": "http://nowhere.invalid/"})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    let failed = host.delivery_when(&id, "an attempt", |delivery| delivery["attempt_count"] != 0).await;
    let error = failed["attempts"][0]["error"].as_str().unwrap();
    assert!(error.starts_with("could not resolve nowhere.invalid: "), "{error}");
}

#[tokio::test]
async fn idle_connection_is_closed_when_it_is_old_or_its_webhook_changes() {
    for (flags, changed, connections) in [(&["--connection-max-age=0s"][..], false, 2), (&[], true, 2), (&[], false, 1)]
    {
        let host = Host::with(flags).await;
        let raw = Raw::start(|_, stream| answer(stream)).await;
        attempts(&host, &raw.url(), &json!(1)).await;
        if changed {
            let id = host.get("/webhooks").await.expect(200)[0]["id"].as_str().unwrap().to_owned();
            host.patch(&format!("/webhooks/{id}"), &json!({"name": "moved"})).await.expect(200);
        }
        attempts(&host, &raw.url(), &json!(1)).await;
        assert_eq!(raw.connections(), connections, "{flags:?} {changed}");
    }
}

#[tokio::test]
async fn closed_idle_connection_costs_no_attempt() {
    let host = Host::start().await;
    let raw = Raw::start(|number, mut stream| async move {
        assert!(request(&mut stream).await);
        stream.write_all(OK).await.unwrap();
        if number > 0 {
            answer(stream).await;
        }
    })
    .await;
    for _ in 0..2 {
        assert_eq!(attempts(&host, &raw.url(), &json!(1)).await.len(), 1);
    }
    until("a second connection", async || (raw.connections() == 2).then_some(())).await;
}

#[tokio::test]
async fn connection_closed_during_a_request_is_retried_within_the_attempt() {
    let host = Host::start().await;
    // The first connection closes with the second request unanswered, as if the request had crossed the close on its way.
    let raw = Raw::start(|number, mut stream| async move {
        let answered = if number == 0 { 1 } else { usize::MAX };
        for _ in 0..answered {
            if !request(&mut stream).await {
                return;
            }
            stream.write_all(OK).await.unwrap();
        }
        request(&mut stream).await;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(attempts(&host, &raw.url(), &json!(1)).await.len(), 1);
    }
    assert_eq!(raw.connections(), 2);
}

#[tokio::test]
async fn request_on_a_stale_connection_is_repeated_once() {
    let host = Host::start().await;
    let raw = Raw::start(|number, mut stream| async move {
        match number {
            0 => {
                stream = say(stream, OK).await;
                request(&mut stream).await;
            }
            1 => drop(say(stream, b"").await),
            _ => answer(stream).await,
        }
    })
    .await;
    assert_eq!(attempts(&host, &raw.url(), &json!(1)).await.len(), 1);
    let second = attempts(&host, &raw.url(), &json!(2)).await;
    assert_eq!((second.len(), &second[0]["error"]), (2, &json!(CLOSED)));
}
