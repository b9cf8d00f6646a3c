//! A host in this process, and a client for any host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use posthaste::clock::{Clock, SystemClock};
use posthaste::config::Config;
use posthaste::domain::credential::{Key, Owner, Scopes};
use posthaste::domain::id::Ids;
use posthaste::store::KeyStore;
use posthaste::{Environment, Service};
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{Home, binary, until};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Returns the body as JSON, or null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// Checks the status and returns the body as JSON.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// Returns a header's value, or an empty text if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem (RFC 9457) with this status, and returns its detail and pointers as one text.
    pub fn problem(&self, status: u16) -> String {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert!(body["type"].is_string() && body["title"].is_string(), "{body}");
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        let pointers =
            errors.iter().map(|error| format!(" [{}] {}", error["pointer"].as_str().unwrap(), error["detail"]));
        format!("{}{}", body["detail"].as_str().unwrap(), pointers.collect::<String>())
    }
}

/// A client of a host, with one credential.
#[derive(Clone)]
pub struct Client {
    /// `http://127.0.0.1:…`
    pub base: String,
    /// The key.
    pub key: String,
    http: reqwest::Client,
}

impl Client {
    /// A client of the host at `base`.
    pub fn new(base: impl Into<String>, key: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: base.into(), key: key.into(), http }
    }

    /// The same host with another key.
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self.clone() }
    }

    /// Any call; `path` follows `/api/v1`, or begins with `!` for the root.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let url = match path.strip_prefix('!') {
            Some(path) => format!("{}{path}", self.base),
            None => format!("{}/api/v1{path}", self.base),
        };
        let mut request = self.http.request(method, url).body(body.into());
        if !self.key.is_empty() {
            request = request.bearer_auth(&self.key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// `PATCH` of JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, path, &[], body.to_string()).await
    }

    /// `DELETE` with JSON.
    pub async fn delete(&self, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call(Method::DELETE, path, &[], body).await
    }

    /// Uploads a plugin.
    pub async fn upload(&self, name: &str, wasm: &[u8]) -> Answer {
        self.call(Method::PUT, &format!("/plugins/{name}"), &[("content-type", "application/wasm")], wasm).await
    }

    /// Creates or overwrites a webhook and returns its id.
    pub async fn subscribe(&self, webhook: &Value) -> String {
        let answer = self.post("/webhooks", webhook).await;
        assert!([200, 201].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.bytes));
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Publishes an event and returns the id of its delivery, empty if there is none.
    pub async fn publish(&self, event_type: &str, data: &Value) -> String {
        let answer = self.post("/events", &serde_json::json!({"type": event_type, "data": data})).await.expect(202);
        answer["delivery_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a delivery has this status and returns it.
    pub async fn delivery(&self, id: &str, status: &str) -> Value {
        self.delivery_when(id, status, |delivery| delivery["status"] == status).await
    }

    /// Waits until a delivery satisfies `wanted` and returns it.
    pub async fn delivery_when(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("delivery {id}: {what}"), || async {
            Some(self.get(&format!("/deliveries/{id}")).await.expect(200)).filter(&wanted)
        })
        .await
    }
}

/// A host in this process, on a port and a database of its own.
pub struct Host {
    /// A client with a key of company `acme`.
    pub client: Client,
    flags: Vec<String>,
    compiler: PathBuf,
    clock: Arc<dyn Clock>,
    service: Option<Service>,
    home: Arc<Home>,
}

impl std::ops::Deref for Host {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Host {
    /// Starts a host that allows targets on loopback and retries quickly.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// As [`Host::start`], with these additional flags.
    pub async fn with(flags: &[&str]) -> Self {
        Self::at(Arc::new(SystemClock), flags).await
    }

    /// As [`Host::with`], with another clock.
    pub async fn at(clock: Arc<dyn Clock>, flags: &[&str]) -> Self {
        Self::in_home(Arc::new(Home::new().await), clock, flags).await
    }

    /// Starts another node on the same database, with the same clock.
    pub async fn beside(&self, flags: &[&str]) -> Self {
        Self::in_home(self.home.clone(), self.clock.clone(), flags).await
    }

    async fn in_home(home: Arc<Home>, clock: Arc<dyn Clock>, flags: &[&str]) -> Self {
        let (client, compiler) = (Client::new("", ""), binary());
        let mut host = Self { client, flags: with_defaults(flags), compiler, clock, service: None, home };
        host.client.key = host.new_key(Some("acme"), Scopes::all()).await;
        host.boot().await;
        host
    }

    /// Returns its database and folder.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Returns the data directory.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Sets the program that compiles plugins from the next start on.
    pub fn compile_with(&mut self, program: impl Into<PathBuf>) {
        self.compiler = program.into();
    }

    async fn boot(&mut self) {
        let data = format!("--data-dir={}", self.home.path().display());
        let database = format!("--database={}", self.home.database());
        let flags = ["posthaste".to_owned(), data, database].into_iter().chain(self.flags.iter().cloned());
        let config = Flags::try_parse_from(flags).unwrap_or_else(|error| panic!("{error}")).config;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let environment =
            Environment { program: self.compiler.clone(), clock: self.clock.clone(), ..Environment::default() };
        let service = Service::start_in(environment, config, listener).await.unwrap();
        self.client.base = format!("http://{}", service.address());
        self.service = Some(service);
    }

    /// Creates a key; without a company it is a platform key.
    pub async fn new_key(&self, company: Option<&str>, scopes: Scopes) -> String {
        let owner = company.map_or(Owner::Platform, |name| Owner::Company(name.into()));
        let now = SystemClock.now_ms();
        let key = Key::new(Ids::default().next("key", now), owner, scopes, now);
        self.store_key(&key).await
    }

    /// Stores this key and returns its text.
    pub async fn store_key(&self, key: &Key) -> String {
        let random = std::array::from_fn(|_| rand_byte());
        KeyStore::open(self.home.database()).await.unwrap().create(key, random).await.unwrap()
    }

    /// Returns a client of another company.
    pub async fn company(&self, name: &str) -> Client {
        self.client.with_key(self.new_key(Some(name), Scopes::all()).await)
    }

    /// Makes the fetcher look for due deliveries at once, after the clock was moved: storing any webhook does that.
    pub async fn look(&self) {
        self.subscribe(&serde_json::json!({"type": "nobody-publishes-this", "target_url": "http://127.0.0.1:9/"}))
            .await;
    }

    /// Finishes the attempts in flight and stops.
    pub async fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
    }

    /// Stops, and starts again on the same database.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    /// As [`Host::restart`], with other flags.
    pub async fn restart_with(&mut self, flags: &[&str]) {
        self.flags = with_defaults(flags);
        self.restart().await;
    }
}

/// Returns these flags together with the harness's defaults for all others.
fn with_defaults(flags: &[&str]) -> Vec<String> {
    // Longer than a test waits: on a slow machine no call or attempt ends by a limit that the test is not about.
    let patient = ["--attempt-timeout=10m", "--plugin-deadline=10s"];
    let quick = ["--allow-target=127.0.0.0/8", "--retry-schedule=20ms,20ms,20ms"];
    let name = |flag: &str| flag.split('=').next().map(str::to_owned);
    let given: Vec<_> = flags.iter().map(|flag| name(flag)).collect();
    let defaults = quick.into_iter().chain(patient).filter(|flag| !given.contains(&name(flag)));
    defaults.chain(flags.iter().copied()).map(str::to_owned).collect()
}

fn rand_byte() -> u8 {
    use std::hash::{BuildHasher, Hasher};
    let state = std::hash::RandomState::new();
    state.build_hasher().finish().to_le_bytes()[0]
}
