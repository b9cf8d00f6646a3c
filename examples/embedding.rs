//! The service in a test of your own program.
//!
//! `post_hire` stands for your program: it publishes an event. The test starts a Posthaste in its own process, subscribes a
//! receiver of its own, and asserts what arrives there: the whole way, with a real database and real HTTP, without anything
//! to install.

// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, StatusCode};
use posthaste::Service;
use posthaste::clock::{Clock, SystemClock};
use posthaste::config::Config;
use posthaste::domain::credential::{Key, Owner, Scopes};
use posthaste::domain::id::Ids;
use posthaste::store::KeyStore;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A safety net: the longest that the test waits for a delivery.
const PATIENCE: Duration = Duration::from_secs(60);

/// Your program: publishes that somebody was hired.
async fn post_hire(http: &reqwest::Client, posthaste: &str, key: &str, name: &str) -> u16 {
    let event = json!({"type": "employee_hired", "data": {"name": name}});
    let request = http.post(format!("{posthaste}/api/v1/events")).bearer_auth(key).body(event.to_string());
    request.send().await.unwrap().status().as_u16()
}

/// The flags of `posthaste serve`.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

/// A Posthaste in this process.
struct Posthaste {
    service: Service,
    key: String,
}

impl Posthaste {
    /// Starts one whose database and files are in `folder`, with a key of company `acme`.
    async fn start(folder: &Path) -> Self {
        let database = format!("sqlite://{}", folder.join("posthaste.db").display());
        let data = folder.display().to_string();
        // By default only public addresses may be targets.
        let flags = ["posthaste", "--database", &database, "--data-dir", &data, "--allow-target", "127.0.0.0/8"];
        let config = Flags::try_parse_from(flags).unwrap_or_else(|error| panic!("{error}")).config;
        let key = new_key(&database).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { service: Service::start(config, listener).await.unwrap(), key }
    }

    fn url(&self) -> String {
        format!("http://{}", self.service.address())
    }
}

/// What `posthaste keys create --company acme` does.
async fn new_key(database: &str) -> String {
    let now = SystemClock.now_ms();
    let owner = Owner::Company("acme".into());
    let id = Ids::default().next("key", now);
    let key = Key::new(id, owner, Scopes::all(), now);
    KeyStore::open(database).await.unwrap().create(&key, rand::random()).await.unwrap()
}

/// One request that arrived.
struct Arrival {
    headers: HeaderMap,
    body: Bytes,
}

async fn receive(State(sender): State<mpsc::UnboundedSender<Arrival>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let _ = sender.send(Arrival { headers, body });
    StatusCode::NO_CONTENT
}

/// Starts a receiver and returns its address and its arrivals.
async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<Arrival>) {
    let (sender, arrivals) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(receive)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, arrivals)
}

#[tokio::test]
async fn hiring_somebody_notifies_the_subscriber() {
    let folder = tempfile::tempdir().unwrap();
    let posthaste = Posthaste::start(folder.path()).await;
    let (address, mut arrivals) = receiver().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let hook = json!({"type": "employee_hired", "target_url": format!("http://{address}/"), "challenge": "c1"});
    let subscribing = http.post(format!("{}/api/v1/webhooks", posthaste.url())).bearer_auth(&posthaste.key);
    assert_eq!(subscribing.body(hook.to_string()).send().await.unwrap().status(), 201);

    assert_eq!(post_hire(&http, &posthaste.url(), &posthaste.key, "Ada").await, 202);

    let arrival = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
    let Arrival { headers, body } = arrival.unwrap_or_else(|_| panic!("nothing arrived")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"name": "Ada"}));
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
    assert_eq!((header("webhook-event-type"), header("x-factorial-wh-challenge")), ("employee_hired", "c1"));
    // Finishes the attempts in flight and closes the database.
    posthaste.service.stop().await;
}
