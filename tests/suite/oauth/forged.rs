//! Forged tokens: each differs from a valid one in one way.

use posthaste_tests::{Host, Receiver, StoppedClock};
use serde_json::{Value, json};

use super::signer::{Signer, publish};
use super::{answer_to, opens, refused};

/// A host that accepts the tokens of one signer.
struct Stage {
    signer: Signer,
    clock: std::sync::Arc<StoppedClock>,
    host: Host,
    _receiver: Receiver,
}

impl Stage {
    async fn set() -> Self {
        let (signer, receiver, clock) = (Signer::new("k"), Receiver::start().await, StoppedClock::now());
        publish(&receiver, signer.jwks());
        let jwks = format!("--oauth-jwks={}", receiver.url("/jwks"));
        let flags = [jwks.as_str(), "--oauth-issuer=https://id.example", "--oauth-audience=posthaste"];
        let host = Host::at(clock.clone(), &flags).await;
        Self { signer, clock, host, _receiver: receiver }
    }

    /// Returns a valid token in which these members of the header and the claims are replaced.
    fn token(&self, header: &Value, claims: &Value) -> String {
        let mut right = self.signer.header();
        let mut says = json!({"iss": "https://id.example", "aud": ["posthaste", "other"], "exp": self.clock.seconds() + 60,
            "company_id": "acme", "scope": "openid webhooks:read"});
        for (whole, change) in [(&mut right, header), (&mut says, claims)] {
            for (name, value) in change.as_object().unwrap() {
                whole[name] = value.clone();
            }
        }
        self.signer.sign(&right, &says)
    }

    /// Returns the reason for which the token is refused. Moves the clock, so that this address is not rate-limited.
    async fn why(&self, token: &str) -> String {
        self.clock.pass_seconds(1);
        refused(&answer_to(&self.host, &self.clock, token).await)
    }
}

#[tokio::test]
async fn forged_token_is_refused() {
    let stage = Stage::set().await;
    let none = json!({});
    for header in [none.clone(), json!({"alg": "ES256", "kid": "k-ec"}), json!({"typ": "application/AT+JWT"})] {
        assert!(opens(&stage.host, &stage.clock, &stage.token(&header, &none)).await, "{header}");
    }
    let headers = [
        (json!({"alg": "none"}), "RS256, ES256 or EdDSA"),
        (json!({"alg": "None"}), "RS256, ES256 or EdDSA"),
        (json!({"alg": "HS256"}), "RS256, ES256 or EdDSA"),
        (json!({"alg": "ES256"}), "`kid` and `alg`"),
        (json!({"alg": "RS256"}), "`kid` and `alg`"),
        (json!({"kid": "k-ec"}), "`kid` and `alg`"),
        (json!({"kid": "unknown"}), "`kid` and `alg`"),
        (json!({"typ": "JWT"}), "at+jwt"),
        (json!({"typ": null}), "at+jwt"),
        (json!({"crit": ["b64"], "b64": false}), "`crit`"),
    ];
    for (header, why) in headers {
        let said = stage.why(&stage.token(&header, &none)).await;
        assert!(said.contains(why), "{header}: {said}");
    }
    // A key in the token itself is not trusted.
    let (own, stranger) = (json!({"jwk": Signer::new("k").jwks()[0]}), Signer::new("k"));
    let mut header = stranger.header();
    header["jwk"] = own["jwk"].clone();
    let said = stage.why(&stranger.sign(&header, &json!({"exp": stage.clock.seconds() + 60}))).await;
    assert!(said.contains("signature does not verify"), "{said}");
}

#[tokio::test]
async fn token_changed_after_signing_is_refused() {
    let stage = Stage::set().await;
    let (token, other) =
        (stage.token(&json!({}), &json!({})), stage.token(&json!({}), &json!({"company_id": "other"})));
    let parts: Vec<_> = token.split('.').collect();
    let payload = other.split('.').nth(1).unwrap();
    assert!(opens(&stage.host, &stage.clock, &token).await);
    for changed in [
        format!("{}.{payload}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], other.split('.').nth(2).unwrap()),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        format!("{token}A"),
        ".".into(),
        "..".into(),
        format!("{}.{}.{}", "A".repeat(20_000), parts[1], parts[2]),
    ] {
        stage.why(&changed).await;
    }
    let client = stage.host.with_key("");
    let answer = client.call(http::Method::GET, "/webhooks", &[("x-api-key", token.as_str())], "").await;
    assert!(refused(&answer).contains("key"), "a token is no key");
}

#[tokio::test]
async fn token_times_are_checked_against_the_service_clock() {
    let stage = Stage::set().await;
    let at = |seconds: i64| json!(stage.clock.seconds() + seconds);
    assert!(opens(&stage.host, &stage.clock, &stage.token(&json!({}), &json!({"exp": at(-59), "nbf": at(60)}))).await);
    let token = stage.token(&json!({}), &json!({"exp": at(10)}));
    assert!(opens(&stage.host, &stage.clock, &token).await);
    stage.clock.pass_seconds(69);
    assert!(opens(&stage.host, &stage.clock, &token).await);
    stage.clock.pass_seconds(1);
    let said = refused(&answer_to(&stage.host, &stage.clock, &token).await);
    assert!(said.contains("expired"), "a token that was accepted before ends as well: {said}");
    for (claims, why) in [
        (json!({"exp": null}), "`exp`"),
        (json!({"exp": "soon"}), "`exp`"),
        (json!({"nbf": at(70)}), "`nbf`"),
        (json!({"iss": "https://evil.example"}), "`iss`"),
        (json!({"iss": null}), "`iss`"),
        (json!({"aud": "other"}), "posthaste"),
        (json!({"aud": []}), "posthaste"),
        (json!({"company_id": null}), "`company_id`"),
        (json!({"company_id": "two words"}), "`company_id`"),
        (json!({"scope": ["webhooks"]}), "`scope`"),
    ] {
        let said = stage.why(&stage.token(&json!({}), &claims)).await;
        assert!(said.contains(why), "{claims}: {said}");
    }
}

#[tokio::test]
async fn token_of_another_company_finds_nothing() {
    let stage = Stage::set().await;
    let hook = json!({"type": "t", "target_url": "http://127.0.0.1:1/"});
    let created = stage.host.post("/webhooks", &hook).await.expect(201);
    let token = stage.token(&json!({}), &json!({"company_id": 7, "scope": "webhooks events:read"}));
    let other = stage.host.with_key(token);
    let id = created["id"].as_str().unwrap();
    other.get(&format!("/webhooks/{id}")).await.problem(404);
    other.get("/webhooks?company=acme").await.problem(403);
    other.get("/webhooks?company=7").await.expect(200);
    other.post("/events", &json!({"type": "t", "data": 1})).await.problem(403);
    assert_eq!(other.post("/webhooks", &hook).await.expect(201)["company"], "7");
}
