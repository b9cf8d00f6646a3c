//! The HTTP/1.1 client of the generator: one kept-alive connection, plain `http://`, reopened when the server closes it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Error;

/// The parts of a request that are the same for every event.
pub struct Endpoint {
    /// The request's method.
    pub method: Method,
    /// The request's URL; its authority is that of the connection.
    pub uri: Uri,
    /// The request's headers, besides `host`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// One connection to one authority, opened by the first request.
pub struct Connection {
    authority: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// How many times the connection was opened.
    pub opened: u64,
}

impl Connection {
    /// Returns a connection to the authority of `uri`; fails unless that is an `http://` URL with a host.
    pub fn new(uri: &Uri) -> Result<Connection, Error> {
        if uri.scheme_str() != Some("http") {
            return Err(format!("only http:// targets are supported: {uri}").into());
        }
        let host = uri.host().ok_or("the URL has no host")?;
        let port = uri.port_u16().unwrap_or(80);
        Ok(Connection { authority: format!("{host}:{port}"), sender: None, opened: 0 })
    }

    /// Sends one request and reads the whole response.
    pub async fn call(&mut self, endpoint: &Endpoint, body: Bytes) -> Result<(StatusCode, Bytes), Error> {
        let mut request = Request::builder()
            .method(&endpoint.method)
            .uri(endpoint.uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(http::header::HOST, self.authority.as_str())
            .body(Full::new(body))?;
        for (name, value) in &endpoint.headers {
            request.headers_mut().append(name, value.clone());
        }
        // Put back only after the whole response was read: an error leaves a connection that cannot be used again.
        let mut sender = self.take_sender().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?;
        self.sender = Some(sender);
        Ok((status, body.to_bytes()))
    }

    async fn take_sender(&mut self) -> Result<SendRequest<Full<Bytes>>, Error> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        self.opened += 1;
        Ok(sender)
    }
}
