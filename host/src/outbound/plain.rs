//! The unguarded client, for addresses that the operator gives: a plugin push, an issuer's JWKS.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};
use reqwest::{Body, Request, Url};

use super::client::builder;
use super::fault;
use super::target::Scheme;

/// Longest answer that is read, in bytes.
pub const MAX_PLAIN_ANSWER_BYTES: usize = 1024 * 1024;
/// What an upload is cut into, so that its progress can be told.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reaches any address. Follows no redirects, so that a key is sent only where the operator said; honours the
/// environment's proxies, as other command-line tools do.
#[derive(Debug, Clone, Copy)]
pub struct Plain {
    timeout: Duration,
}

impl Plain {
    /// Requests take at most `timeout`, uploading included.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Sends `body` to `url` and calls `progress` with the bytes handed over so far: the status and the body.
    ///
    /// # Errors
    /// Not an http or https URL, no answer, or one longer than [`MAX_PLAIN_ANSWER_BYTES`].
    pub async fn call(
        &self,
        method: Method,
        url: &str,
        (headers, body): (HeaderMap, Bytes),
        progress: impl Fn(usize) + Send + 'static,
    ) -> Result<(u16, Bytes), String> {
        let mut request = Request::new(method, parse(url)?);
        *request.headers_mut() = headers;
        // A stream says nothing of its length, and the server is to refuse what is too long before it has it all.
        request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        let total = body.len();
        let chunks = stream::iter((0..total).step_by(CHUNK_BYTES)).map(move |start| {
            let end = total.min(start + CHUNK_BYTES);
            progress(end);
            Ok::<_, Infallible>(body.slice(start..end))
        });
        *request.body_mut() = Some(Body::wrap_stream(chunks));
        self.exchange(request).await
    }

    /// Gets `url`: the status and the body.
    ///
    /// # Errors
    /// As [`Plain::call`].
    pub async fn get(&self, url: &str) -> Result<(u16, Bytes), String> {
        self.exchange(Request::new(Method::GET, parse(url)?)).await
    }

    async fn exchange(&self, request: Request) -> Result<(u16, Bytes), String> {
        let url = request.url().clone();
        let scheme = if url.scheme() == "https" { Scheme::Https } else { Scheme::Http };
        let client = builder(scheme, self.timeout).build().map_err(|error| fault::describe_build(&error))?;
        let exchange = async {
            let describe = |error| fault::describe(&error, &url, self.timeout);
            let mut response = client.execute(request).await.map_err(describe)?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off")? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_PLAIN_ANSWER_BYTES {
                    return Err("the answer is longer than 1 MiB".into());
                }
            }
            Ok((response.status().as_u16(), body.into()))
        };
        let in_time = tokio::time::timeout(self.timeout, exchange).await;
        in_time.unwrap_or_else(|_| Err(format!("no answer within {}", fault::spoken(self.timeout))))
    }
}

fn parse(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("the URL cannot be read: {error}"))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        _ => Err("the URL has to begin with https:// or http://".into()),
    }
}
