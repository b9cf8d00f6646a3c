//! Calls to addresses that the person at the keyboard gives: no guard, and a progress report.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use reqwest::{Body, Client};

use super::client::{builder, explain_setup};
use super::failure;

/// Longest call.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 20;
/// Bytes between two reports.
const CHUNK: usize = 64 * 1024;

/// A status and a body.
pub type Reply = (u16, Vec<u8>);

/// A client of an API, with a key.
#[derive(Clone)]
pub struct Plain {
    client: Client,
    key: String,
}

impl Plain {
    /// A client that sends `key` as its Bearer token.
    ///
    /// # Errors
    /// The TLS set-up, in words for the operator.
    pub fn new(key: impl Into<String>) -> Result<Self, String> {
        let client = builder(TIMEOUT).timeout(TIMEOUT).build().map_err(|error| explain_setup(&error))?;
        Ok(Self { client, key: key.into() })
    }

    /// Sends `body` as `content_type`; `progress` is told how many of its bytes have been handed to the network.
    ///
    /// # Errors
    /// A URL that is none, or why no answer came.
    pub async fn call(
        &self,
        method: Method,
        url: &str,
        (content_type, body): (&str, Bytes),
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Reply, String> {
        let length = body.len();
        let chunks = stream::unfold((body, 0), move |(mut rest, sent)| {
            progress(sent);
            let chunk = rest.split_to(CHUNK.min(rest.len()));
            let sent = sent + chunk.len() as u64;
            async move { (!chunk.is_empty()).then_some((Ok::<_, std::io::Error>(chunk), (rest, sent))) }
        });
        let request = self.client.request(method, url).bearer_auth(&self.key).header("content-type", content_type);
        let request = request.header("content-length", length).body(Body::wrap_stream(chunks));
        let mut response = request.send().await.map_err(|error| failure::text(&error, TIMEOUT))?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure::text(&error, TIMEOUT))? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(format!("the answer is over {MAX_ANSWER} bytes"));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), answer))
    }
}
