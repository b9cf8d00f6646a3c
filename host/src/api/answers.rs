//! What every answer has in common: the memory of a large one is a part of its company's share until it has been sent.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::ApiState;
use super::auth::PeerAddress;
use super::concerned_company::ConcernedCompany;
use super::problem::Problem;
use crate::shares::{Part, Resource, ShareExceeded};

/// Answers up to this size are no part of the memory for answers: the number of connections bounds them.
pub(super) const SMALL_ANSWER: u64 = 16 * 1024;

/// Calls that change nothing although they are a POST, so that their answers can be refused.
const READING_POSTS: [&str; 2] = ["/api/v1/plugins/{name}/dry-run", "/api/v1/plugins/{name}/compare"];

/// The memory of an answer, taken before it was made; an extension of the answer.
#[derive(Debug, Clone)]
pub(super) struct HeldAnswer {
    _part: Arc<Part>,
}

impl HeldAnswer {
    /// Takes the memory of an answer of about this size; `None` for a small one.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn take(api: &ApiState, company: &str, bytes: u64) -> Result<Option<Self>, ShareExceeded> {
        let share = api.shares.of(Resource::AnswerBytes);
        (bytes > SMALL_ANSWER).then(|| share.try_take(company, bytes).map(Self::from)).transpose()
    }
}

impl From<Part> for HeldAnswer {
    fn from(part: Part) -> Self {
        Self { _part: Arc::new(part) }
    }
}

/// Bytes of an answer that are not sent yet.
struct UnsentBytes {
    bytes: Bytes,
    _held: HeldAnswer,
}

impl AsRef<[u8]> for UnsentBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Lets no client guess a content type that a company chose, and counts a large answer until it has been sent. If there is no
/// room for it, it is refused (429, 503), unless the request has changed something.
pub(super) async fn send(State(api): State<Arc<ApiState>>, mut request: Request, next: Next) -> Response {
    let concerned = ConcernedCompany::default();
    request.extensions_mut().insert(concerned.clone());
    let peer = request.extensions().get::<PeerAddress>().copied();
    let route = request.extensions().get::<MatchedPath>();
    let reads = request.method() == Method::GET || route.is_some_and(|path| READING_POSTS.contains(&path.as_str()));
    let mut response = next.run(request).await;
    let size = response.body().size_hint().exact().unwrap_or(0);
    if size > SMALL_ANSWER {
        let share = api.shares.of(Resource::AnswerBytes);
        let address = || peer.map(|peer| peer.network().to_string()).unwrap_or_default();
        let held = match (response.extensions_mut().remove::<HeldAnswer>(), concerned.get()) {
            (Some(held), _) => Ok(held),
            (None, Some(company)) if reads => share.try_take(company, size).map(HeldAnswer::from),
            (None, Some(company)) => Ok(share.hold(company, size).into()),
            (None, None) => share.try_take(&address(), size).map(HeldAnswer::from),
        };
        response = match held {
            Ok(held) => hold(response, size, held),
            Err(exceeded) => Problem::from(exceeded).into_response(),
        };
    }
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Ties the part to the bytes: hyper drops the body once it has taken them, and the bytes once they are sent.
fn hold(response: Response, size: u64, held: HeldAnswer) -> Response {
    let mut response = response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            frame.map_data(|bytes| Bytes::from_owner(UnsentBytes { bytes, _held: held.clone() }))
        }))
    });
    response.headers_mut().entry(CONTENT_LENGTH).or_insert(size.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::shares::{ShareTotals, Shares};

    #[tokio::test]
    async fn part_is_given_back_with_the_last_byte_of_the_answer() {
        let totals = ShareTotals { client_connections: 1, idle_connections: 1, dns_lookups: 1, pings: 1 };
        let shares = Shares::new(totals, &Metrics::new(0, []));
        let share = shares.of(Resource::AnswerBytes);
        let part = share.try_take("acme", 3).unwrap();
        let response = hold("abc".into_response(), 3, part.into());
        assert_eq!(response.headers()[CONTENT_LENGTH], "3");
        let mut body = response.into_body();
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(body);
        let last = bytes.slice(2..);
        drop(bytes);
        assert_eq!((share.usage("acme").0, &*last), (3, &b"c"[..]));
        drop(last);
        assert_eq!(share.usage("acme").0, 0);
    }
}
