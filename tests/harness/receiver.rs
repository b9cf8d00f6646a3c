//! A webhook receiver on loopback that keeps what arrives and answers as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::PATIENCE;

/// One POST that arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The path it was sent to.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Bytes,
}

impl Arrival {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header's value; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answering = Arc<dyn Fn(usize, &Arrival) -> Response + Send + Sync>;

struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    count: watch::Sender<usize>,
    answering: Mutex<Answering>,
    /// Answers that may be given; `None`: any.
    held: Mutex<Option<Arc<Semaphore>>>,
    unanswered: AtomicUsize,
    most_unanswered: AtomicUsize,
}

/// A receiver; it ends with the test.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Listens on a port of its own and answers 200.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            arrivals: Mutex::default(),
            count: watch::Sender::new(0),
            answering: Mutex::new(Arc::new(|_, _| StatusCode::OK.into_response())),
            held: Mutex::default(),
            unanswered: AtomicUsize::new(0),
            most_unanswered: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers from now on as `answer` says; it is told how many arrived before.
    pub fn answer(&self, answer: impl Fn(usize, &Arrival) -> Response + Send + Sync + 'static) {
        *self.shared.answering.lock().unwrap() = Arc::new(answer);
    }

    /// Answers from now on with this status.
    pub fn answer_status(&self, status: u16) {
        let status = StatusCode::from_u16(status).unwrap();
        self.answer(move |_, _| status.into_response());
    }

    /// From now on nothing is answered but what [`Receiver::release`] lets through, in the order of arrival.
    pub fn hold(&self) {
        *self.shared.held.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
    }

    /// Lets so many answers through.
    pub fn release(&self, count: usize) {
        self.shared.held.lock().unwrap().as_ref().unwrap().add_permits(count);
    }

    /// Answers everything again, also what was held.
    pub fn open(&self) {
        self.shared.held.lock().unwrap().take().unwrap().close();
    }

    /// The most that ever were unanswered at once.
    pub fn most_unanswered(&self) -> usize {
        self.shared.most_unanswered.load(Ordering::SeqCst)
    }

    /// All that arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// Waits until at least `count` have arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Arrival> {
        let mut seen = self.shared.count.subscribe();
        let waiting = seen.wait_for(|arrived| *arrived >= count);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{} of {count} arrived", self.arrivals().len());
        }
        self.arrivals()
    }

    /// Waits for one that is as `wanted` says.
    pub async fn wait_for_one(&self, wanted: impl Fn(&Arrival) -> bool) -> Arrival {
        let mut seen = self.shared.count.subscribe();
        let arrived = || self.shared.arrivals.lock().unwrap().iter().rev().find(|arrival| wanted(arrival)).cloned();
        let waiting = seen.wait_for(|_| arrived().is_some());
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it never arrived");
        arrived().unwrap()
    }

    /// Waits for the first arrival.
    pub async fn first(&self) -> Arrival {
        self.wait_for(1).await.remove(0)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let arrival = Arrival { at: Instant::now(), path: uri.path().into(), headers, body };
    let (answering, held) = (shared.answering.lock().unwrap().clone(), shared.held.lock().unwrap().clone());
    let unanswered = shared.unanswered.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_unanswered.fetch_max(unanswered, Ordering::SeqCst);
    let before = {
        let mut arrivals = shared.arrivals.lock().unwrap();
        arrivals.push(arrival.clone());
        arrivals.len() - 1
    };
    // Made before anybody hears of the arrival.
    let answer = answering(before, &arrival);
    shared.count.send_replace(before + 1);
    if let Some(held) = held
        && let Ok(permit) = held.acquire().await
    {
        permit.forget();
    }
    shared.unanswered.fetch_sub(1, Ordering::SeqCst);
    answer
}
