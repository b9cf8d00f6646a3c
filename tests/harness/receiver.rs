//! A webhook receiver on loopback that keeps all requests and answers as the test sets.

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

/// A POST that arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The time of arrival.
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

    /// Returns a header's value, or an empty text if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answering = Arc<dyn Fn(usize, &Arrival) -> Response + Send + Sync>;

struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    count: watch::Sender<usize>,
    answering: Mutex<Answering>,
    /// The number of answers that may be given; `None` is no limit.
    held: Mutex<Option<Arc<Semaphore>>>,
    unanswered: AtomicUsize,
    most_unanswered: AtomicUsize,
}

/// A receiver; it stops when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Listens on its own port and answers 200.
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

    /// Returns the URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets the answer, which gets the number of earlier arrivals and the request.
    pub fn answer(&self, answer: impl Fn(usize, &Arrival) -> Response + Send + Sync + 'static) {
        *self.shared.answering.lock().unwrap() = Arc::new(answer);
    }

    /// Sets the status of all answers.
    pub fn answer_status(&self, status: u16) {
        let status = StatusCode::from_u16(status).unwrap();
        self.answer(move |_, _| status.into_response());
    }

    /// Withholds answers until [`Receiver::release`] lets them through, in the order of arrival.
    pub fn hold(&self) {
        *self.shared.held.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
    }

    /// Lets this many answers through.
    pub fn release(&self, count: usize) {
        self.shared.held.lock().unwrap().as_ref().unwrap().add_permits(count);
    }

    /// Ends [`Receiver::hold`]: answers all requests, also the withheld ones.
    pub fn open(&self) {
        self.shared.held.lock().unwrap().take().unwrap().close();
    }

    /// Returns the largest number of requests that were unanswered at the same time.
    pub fn most_unanswered(&self) -> usize {
        self.shared.most_unanswered.load(Ordering::SeqCst)
    }

    /// Returns all arrivals so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// Waits for at least `count` arrivals and returns all.
    pub async fn wait_for(&self, count: usize) -> Vec<Arrival> {
        let mut seen = self.shared.count.subscribe();
        let waiting = seen.wait_for(|arrived| *arrived >= count);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{} of {count} arrived", self.arrivals().len());
        }
        self.arrivals()
    }

    /// Waits for an arrival that satisfies `wanted` and returns it.
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
    // The answer is computed before the arrival becomes visible.
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
