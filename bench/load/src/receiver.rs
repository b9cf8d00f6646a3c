//! The client of `recv`: resets its counts and waits until it has received everything.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::Error;
use crate::connection::{Connection, Endpoint};

/// The receiver, as seen by the generator.
pub struct ReceiverClient {
    base: String,
    connection: Connection,
}

impl ReceiverClient {
    /// Returns a client of the receiver at `base`, an `http://` URL.
    pub fn new(base: &str) -> Result<ReceiverClient, Error> {
        Ok(ReceiverClient { base: base.into(), connection: Connection::new(&base.parse()?)? })
    }

    /// Forgets all counts; from now on the receiver counts `run`.
    pub async fn reset(&mut self, run: u64) -> Result<(), Error> {
        self.call(Method::POST, &format!("/_reset?run={run}")).await.map(drop)
    }

    /// Returns the counts so far.
    pub async fn stats(&mut self) -> Result<Value, Error> {
        Ok(serde_json::from_slice(&self.call(Method::GET, "/_stats").await?)?)
    }

    async fn call(&mut self, method: Method, path: &str) -> Result<Bytes, Error> {
        let endpoint = Endpoint { method, uri: format!("{}{path}", self.base).parse()?, headers: Vec::new() };
        Ok(self.connection.call(&endpoint, Bytes::new()).await?.1)
    }

    /// Waits for `expected` distinct deliveries and returns the counts; gives up after `idle` without progress.
    pub async fn wait(&mut self, expected: u64, idle: Duration) -> Result<Value, Error> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let unique = self.stats().await?["unique"].as_u64().unwrap_or(0);
            if unique >= expected || since.elapsed() > idle {
                // Leaves duplicates the time to arrive.
                tokio::time::sleep(Duration::from_millis(300)).await;
                return self.stats().await;
            }
            if unique != last {
                (last, since) = (unique, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
