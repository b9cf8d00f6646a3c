//! Issuer keys: their sources, when they are fetched, and the flags that a start refuses.

use axum::response::IntoResponse;
use futures_util::future::join_all;
use http::StatusCode;
use posthaste_tests::{Home, Host, Process, Receiver, StoppedClock, until};
use serde_json::{Value, json};

use super::signer::{Signer, publish};
use super::{answer_to, opens, refused};

fn claims(clock: &StoppedClock) -> Value {
    json!({"aud": "posthaste", "exp": clock.seconds() + 7200, "company_id": "acme", "scope": "webhooks"})
}

async fn host(receiver: &Receiver, clock: &std::sync::Arc<StoppedClock>) -> Host {
    let jwks = format!("--oauth-jwks={}", receiver.url("/jwks"));
    Host::at(clock.clone(), &[&jwks, "--oauth-audience=posthaste"]).await
}

#[tokio::test]
async fn tokens_with_unknown_keys_share_one_fetch_in_ten_seconds() {
    let (signer, receiver, clock) = (Signer::new("k"), Receiver::start().await, StoppedClock::now());
    publish(&receiver, signer.jwks());
    let host = host(&receiver, &clock).await;
    let good = signer.sign(&signer.header(), &claims(&clock));
    assert!(opens(&host, &clock, &good).await);
    assert_eq!(receiver.arrivals().len(), 1);
    let unknown = |n: usize| Signer::new(&format!("u{n}"));
    for fetches in [1, 2, 3] {
        let all: Vec<_> = (0..12).map(unknown).map(|other| other.sign(&other.header(), &claims(&clock))).collect();
        let answers = join_all(all.iter().map(|token| {
            let client = host.with_key(token);
            async move { client.get("/webhooks").await.status }
        }));
        assert!(answers.await.iter().all(|status| [401, 429].contains(status)));
        assert_eq!(receiver.arrivals().len(), fetches);
        assert!(opens(&host, &clock, &good).await);
        clock.pass_seconds(10);
    }
}

#[tokio::test]
async fn removed_issuer_key_is_dropped_after_minutes_but_kept_while_the_issuer_is_down() {
    let (signer, receiver, clock) = (Signer::new("k"), Receiver::start().await, StoppedClock::now());
    publish(&receiver, signer.jwks());
    let host = host(&receiver, &clock).await;
    let token = signer.sign(&signer.header(), &claims(&clock));
    assert!(opens(&host, &clock, &token).await);
    receiver.answer(|_, _| StatusCode::BAD_GATEWAY.into_response());
    clock.pass_seconds(3600);
    assert!(opens(&host, &clock, &token).await);
    receiver.wait_for(2).await; // The issuer was asked in vain.
    publish(&receiver, Signer::new("next").jwks());
    clock.pass_seconds(61);
    // A token waits for a moment only while cached keys can verify it.
    until("the removed key is dropped", async || {
        let dropped = !opens(&host, &clock, &token).await;
        clock.pass_seconds(10);
        dropped.then_some(())
    })
    .await;
}

#[tokio::test]
async fn start_does_not_wait_for_the_issuer() {
    let (signer, receiver, clock) = (Signer::new("k"), Receiver::start().await, StoppedClock::now());
    receiver.answer(|_, _| StatusCode::BAD_GATEWAY.into_response());
    let host = host(&receiver, &clock).await;
    let token = signer.sign(&signer.header(), &claims(&clock));
    for _ in 0..30 {
        let answer = host.with_key(&token).get("/webhooks").await;
        answer.problem(503);
        assert_eq!(answer.header("retry-after"), "1");
    }
    host.get("/webhooks").await.expect(200);
    publish(&receiver, signer.jwks());
    clock.pass_seconds(10);
    assert!(opens(&host, &clock, &token).await);
}

#[tokio::test]
async fn both_discovery_urls_are_tried() {
    let (signer, receiver, clock) = (Signer::new("k"), Receiver::start().await, StoppedClock::now());
    let issuer = receiver.url("/realms/a");
    let document = json!({"issuer": issuer, "jwks_uri": receiver.url("/keys")}).to_string();
    let keys = json!({ "keys": signer.jwks() }).to_string();
    receiver.answer(move |_, arrival| match arrival.path.as_str() {
        "/.well-known/oauth-authorization-server/realms/a" => document.clone().into_response(),
        "/keys" => keys.clone().into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    });
    let flags = [format!("--oauth-issuer={issuer}"), "--oauth-audience=posthaste".into()];
    let host = Host::at(clock.clone(), &flags.each_ref().map(String::as_str)).await;
    let mut claims = claims(&clock);
    claims["iss"] = json!(issuer);
    assert!(opens(&host, &clock, &signer.sign(&signer.header(), &claims)).await);
    assert_eq!(receiver.arrivals()[0].path, "/realms/a/.well-known/openid-configuration");
}

#[tokio::test]
async fn oversized_key_set_is_not_accepted() {
    let (signer, receiver, clock) = (Signer::new("k"), Receiver::start().await, StoppedClock::now());
    let mut keys = signer.jwks();
    keys[0]["more"] = json!("x".repeat(1024 * 1024));
    publish(&receiver, keys);
    let host = host(&receiver, &clock).await;
    let token = signer.sign(&signer.header(), &claims(&clock));
    host.with_key(&token).get("/webhooks").await.problem(503);
    publish(&receiver, vec![signer.jwks()[0].clone(); 101]);
    clock.pass_seconds(10);
    host.with_key(&token).get("/webhooks").await.problem(503);
    publish(&receiver, signer.jwks());
    clock.pass_seconds(10);
    assert!(opens(&host, &clock, &token).await);
}

#[tokio::test]
async fn jwks_file_is_read_again_for_an_unknown_key() {
    let (old, new, clock) = (Signer::new("old"), Signer::new("new"), StoppedClock::now());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, json!({ "keys": old.jwks() }).to_string()).unwrap();
    let jwks = format!("--oauth-jwks={}", file.display());
    let host = Host::at(clock.clone(), &[&jwks, "--oauth-audience=posthaste"]).await;
    assert!(opens(&host, &clock, &old.sign(&old.header(), &claims(&clock))).await);
    let token = new.sign(&new.header(), &claims(&clock));
    std::fs::write(&file, json!({ "keys": new.jwks() }).to_string()).unwrap();
    clock.pass_seconds(10);
    assert!(opens(&host, &clock, &token).await);
    // A token need not name its key if only one fits.
    let unnamed = new.sign(&json!({"alg": "EdDSA", "typ": "at+jwt"}), &claims(&clock));
    assert!(opens(&host, &clock, &unnamed).await);
    let both: Vec<_> = old.jwks().into_iter().chain(new.jwks()).collect();
    std::fs::write(&file, json!({ "keys": both }).to_string()).unwrap();
    clock.pass_seconds(600);
    let unnamed = new.sign(&json!({"alg": "EdDSA", "typ": "at+jwt"}), &claims(&clock));
    let refusal = until("the keys are read again", async || {
        Some(answer_to(&host, &clock, &unnamed).await).filter(|answer| answer.status != 200)
    });
    assert!(refused(&refusal.await).contains("several keys"));
}

#[tokio::test]
async fn invalid_oauth_flags_are_explained_at_the_start() {
    let folder = Home::new().await;
    let text = folder.path().join("text");
    std::fs::write(&text, "no keys").unwrap();
    let text = text.display().to_string();
    for (flags, why) in [
        (vec!["--oauth-issuer", "https://id.example"], "--oauth-audience is missing"),
        (vec!["--oauth-jwks", &text], "--oauth-audience is missing"),
        (vec!["--oauth-audience", "x"], "add --oauth-issuer or --oauth-jwks"),
        (vec!["--oauth-issuer", "id.example", "--oauth-audience", "x"], "--oauth-issuer: `id.example`"),
        (vec!["--oauth-jwks", "/nowhere/jwks.json", "--oauth-audience", "x"], "/nowhere/jwks.json: No such file"),
        (vec!["--oauth-jwks", &text, "--oauth-audience", "x"], "not a JWK Set"),
    ] {
        let data = folder.path().display().to_string();
        let serve = ["serve", "--listen", "127.0.0.1:0", "--database", folder.database(), "--data-dir", &data];
        let (status, _, error) = Process::run(serve.into_iter().chain(flags.iter().copied())).await;
        assert!(status == 1 && error.contains(why), "{flags:?}: {error}");
    }
}

#[tokio::test]
async fn token_is_refused_with_a_hint_if_no_issuer_is_configured() {
    let (host, signer, clock) = (Host::start().await, Signer::new("k"), StoppedClock::now());
    let answer = host.with_key(signer.sign(&signer.header(), &claims(&clock))).get("/webhooks").await;
    assert!(refused(&answer).contains("--oauth-issuer"));
}
