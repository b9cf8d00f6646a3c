//! The unguarded client, for URLs that the operator configures: a plugin push, an issuer's JWKS.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};
use reqwest::{Body, Client, Request, Url};

use super::{fault, tls};

/// Bounds an answer's body, in bytes; a longer one is an error.
pub const MAX_UNGUARDED_ANSWER_BYTES: usize = 1024 * 1024;
/// Size of the chunks of an upload, in bytes; progress is reported after each.
const CHUNK_BYTES: usize = 64 * 1024;

/// A request to a URL that the operator configured.
#[derive(Debug)]
pub struct UnguardedRequest<'a> {
    /// The method.
    pub method: Method,
    /// The URL: http or https.
    pub url: &'a str,
    /// The headers; `content-length` is set from the body.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The answer to an [`UnguardedRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnguardedAnswer {
    /// The status code.
    pub status: u16,
    /// The body, at most [`MAX_UNGUARDED_ANSWER_BYTES`].
    pub body: Bytes,
}

/// A client that may reach any address. It follows no redirects, so that a key is sent only to the configured URL, and
/// it uses the proxies of the environment, as other command-line tools do.
#[derive(Debug, Clone, Copy)]
pub struct UnguardedClient {
    timeout: Duration,
}

impl UnguardedClient {
    /// Creates a client whose requests take at most `timeout`, uploading included.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Sends `request` and calls `progress` with the number of bytes sent so far.
    ///
    /// # Errors
    /// The URL is not http or https, there is no answer, or it is longer than [`MAX_UNGUARDED_ANSWER_BYTES`].
    pub async fn call(
        &self,
        request: UnguardedRequest<'_>,
        progress: impl Fn(usize) + Send + 'static,
    ) -> Result<UnguardedAnswer, String> {
        let UnguardedRequest { method, url, headers, body } = request;
        let mut request = Request::new(method, parse(url)?);
        *request.headers_mut() = headers;
        // A stream has no known length, and the server should refuse a body that is too long before it has read it all.
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

    /// Sends a GET request to `url`.
    ///
    /// # Errors
    /// As [`UnguardedClient::call`].
    pub async fn get(&self, url: &str) -> Result<UnguardedAnswer, String> {
        self.exchange(Request::new(Method::GET, parse(url)?)).await
    }

    fn client(self, https: bool) -> Result<Client, String> {
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.timeout)
            .tcp_nodelay(true);
        let builder = if https {
            builder.https_only(true).tls_backend_preconfigured(tls::client_config()?)
        } else {
            // Plain HTTP must also work on a system without CA certificates.
            builder.tls_certs_only([])
        };
        builder.build().map_err(|error| fault::describe_build(&error))
    }

    async fn exchange(&self, request: Request) -> Result<UnguardedAnswer, String> {
        let url = request.url().clone();
        let client = self.client(url.scheme() == "https")?;
        let exchange = async {
            let describe = |error| fault::describe(&error, &url, self.timeout);
            let mut response = client.execute(request).await.map_err(describe)?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|_| "the connection was closed during the answer")? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_UNGUARDED_ANSWER_BYTES {
                    return Err("the answer is longer than 1 MiB".into());
                }
            }
            Ok(UnguardedAnswer { status: response.status().as_u16(), body: body.into() })
        };
        let in_time = tokio::time::timeout(self.timeout, exchange).await;
        in_time.unwrap_or_else(|_| Err(fault::answer_timed_out(self.timeout)))
    }
}

fn parse(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("the URL cannot be parsed: {error}"))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        _ => Err("the URL must begin with https:// or http://".into()),
    }
}
