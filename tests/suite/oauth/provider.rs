//! Access tokens of `oidc-provider`: discovery, the three algorithms, and key rotation.

use std::path::Path;
use std::process::Stdio;

use posthaste_tests::{Host, PATIENCE, StoppedClock};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use super::{answer_to, opens, refused};

struct Provider {
    issuer: String,
    http: reqwest::Client,
    _child: Child,
}

/// Runs `npm ci` in the target folder, once for all tests.
async fn install() -> &'static Path {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let folder = Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/oidc"));
    let install = || async {
        std::fs::create_dir_all(folder).unwrap();
        for file in ["package.json", "package-lock.json", "provider.js"] {
            std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc").join(file), folder.join(file)).unwrap();
        }
        let mut npm = Command::new("npm");
        let output = npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder).output().await.unwrap();
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    };
    INSTALLED.get_or_init(install).await;
    folder
}

impl Provider {
    async fn start() -> Self {
        let mut node = Command::new("node");
        node.arg("provider.js").current_dir(install().await).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = node.kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let issuer = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it never listened").unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { issuer: issuer.expect("the provider ended"), http, _child: child }
    }

    async fn token(&self, company: &str, alg: &str, scope: &str) -> String {
        let resource = format!("urn:posthaste:{alg}");
        let form = format!("grant_type=client_credentials&resource={resource}&scope={}", scope.replace(' ', "+"));
        let request = self.http.post(format!("{}/token", self.issuer)).basic_auth(company, Some("secret"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let text = request.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn rotate(&self) {
        assert!(self.http.post(format!("{}/rotate", self.issuer)).send().await.unwrap().status().is_success());
    }
}

#[tokio::test]
async fn tokens_of_each_algorithm_grant_their_scopes() {
    let provider = Provider::start().await;
    let clock = StoppedClock::now();
    let flags = [&format!("--oauth-issuer={}", provider.issuer), "--oauth-audience=posthaste"];
    let host = Host::at(clock.clone(), &flags).await;
    assert!(opens(&host, &clock, &provider.token("acme", "ES256", "webhooks").await).await);
    let hook = json!({"type": "t", "target_url": "http://127.0.0.1:1/"});
    host.post("/webhooks", &hook).await.expect(201);
    for alg in ["RS256", "ES256", "EdDSA"] {
        let reader = host.with_key(provider.token("acme", alg, "webhooks:read reports").await);
        assert_eq!(reader.get("/webhooks").await.expect(200)[0]["company"], "acme", "{alg}");
        assert!(reader.post("/webhooks", &hook).await.problem(403).contains("webhooks:read"), "{alg}");
        reader.get("/webhooks?company=42").await.problem(403);
        reader.get("/deliveries").await.problem(403);
        let useless = host.with_key(provider.token("acme", alg, "reports").await);
        assert!(useless.get("/webhooks").await.problem(403).contains("`none`"), "{alg}");
    }
    let other = host.with_key(provider.token("42", "ES256", "webhooks").await);
    assert_eq!(other.get("/webhooks").await.expect(200), json!([]));
    assert_eq!(other.post("/webhooks", &hook).await.expect(201)["company"], "42");
    host.get("/webhooks").await.expect(200);
}

#[tokio::test]
async fn new_issuer_keys_are_fetched_and_removed_ones_dropped() {
    let (provider, clock) = (Provider::start().await, StoppedClock::now());
    let flags = [&format!("--oauth-issuer={}", provider.issuer), "--oauth-audience=posthaste"];
    let host = Host::at(clock.clone(), &flags).await;
    let old = provider.token("acme", "RS256", "webhooks").await;
    assert!(opens(&host, &clock, &old).await);
    provider.rotate().await;
    let new = provider.token("acme", "RS256", "webhooks").await;
    let answer = host.with_key(&new).get("/webhooks").await;
    assert!(refused(&answer).contains("`kid`"), "the keys were fetched just now");
    clock.pass_seconds(10);
    assert!(opens(&host, &clock, &new).await);
    assert!(!opens(&host, &clock, &old).await, "a token of a removed key is refused");
}

#[tokio::test]
async fn token_for_another_audience_or_issuer_is_refused() {
    let provider = Provider::start().await;
    let token = provider.token("acme", "ES256", "webhooks").await;
    let (issuer, jwks) =
        (format!("--oauth-issuer={}", provider.issuer), format!("--oauth-jwks={}/jwks", provider.issuer));
    let answer = async |flags: &[&str]| {
        let clock = StoppedClock::now();
        let host = Host::at(clock.clone(), flags).await;
        answer_to(&host, &clock, &token).await
    };
    assert!(refused(&answer(&[&issuer, "--oauth-audience=other"]).await).contains("`aud`"));
    let other = "--oauth-issuer=https://other.example";
    assert!(refused(&answer(&[&jwks, other, "--oauth-audience=posthaste"]).await).contains("`iss`"));
    answer(&[&jwks, &issuer, "--oauth-audience=posthaste"]).await.expect(200);
    answer(&[&jwks, "--oauth-audience=posthaste"]).await.expect(200);
    // A discovery document that names another issuer than the flag is refused.
    let host = Host::with(&[&format!("{issuer}/"), "--oauth-audience=posthaste"]).await;
    host.with_key(&token).get("/webhooks").await.problem(503);
}
