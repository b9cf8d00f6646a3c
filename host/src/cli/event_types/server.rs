//! The calls of the API about event types.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::plugin::api_headers;
use crate::outbound::{UnguardedClient, UnguardedRequest};

/// Bounds a call, including what the server does for it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Types in one page: with their largest schemas and examples they fit into an answer.
const PAGE: &str = "5";

/// The server, and the credential for it.
#[derive(Args)]
pub(super) struct ServerArgs {
    /// Base URL of Posthaste, for example http://127.0.0.1:8080
    #[arg(long)]
    url: String,
    /// API key with the scope `events`
    #[arg(long, hide_env_values = true)]
    key: String,
    /// Company whose event types these are; required with a platform key
    #[arg(long)]
    company: Option<String>,
}

impl ServerArgs {
    /// Returns all types that the company has described, or those of a group.
    ///
    /// # Errors
    /// There is no answer, or it is a problem.
    pub(super) async fn list(&self, group: Option<&str>) -> Result<Vec<Value>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("limit", PAGE), ("cursor", &cursor)];
            query.extend(group.map(|group| ("group", group)));
            let mut page = self.call(Method::GET, None, &query, None).await?;
            if let Some(Value::Array(types)) = page.get_mut("data").map(Value::take) {
                all.extend(types);
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) if next != cursor => cursor = next.to_owned(),
                _ => return Ok(all),
            }
        }
    }

    /// Describes a type and says whether it was there before.
    ///
    /// # Errors
    /// Why it was not stored.
    pub(super) async fn put(&self, name: &str, fields: &Value) -> Result<&'static str, String> {
        let stored = self.exchange(Method::PUT, Some(name), &[], Some(fields)).await;
        let (status, _) = stored.map_err(|error| error.to_string())?;
        Ok(if status == 201 { "created" } else { "replaced" })
    }

    /// Makes a call and returns its answer.
    ///
    /// # Errors
    /// There is no answer, or it is a problem.
    pub(super) async fn call(
        &self,
        method: Method,
        name: Option<&str>,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        Ok(self.exchange(method, name, query, body).await?.1)
    }

    async fn exchange(
        &self,
        method: Method,
        name: Option<&str>,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(u16, Value), Failure> {
        let mut url = url::Url::parse(&self.url).map_err(|error| format!("--url {}: {error}", self.url))?;
        url.path_segments_mut()
            .map_err(|()| format!("--url {}: it must begin with https:// or http://", self.url))?
            .pop_if_empty()
            .extend(["api", "v1", "event-types"])
            .extend(name);
        let company = self.company.as_deref().map(|company| ("company", company));
        for (parameter, value) in query.iter().copied().chain(company) {
            url.query_pairs_mut().append_pair(parameter, value);
        }
        let request = UnguardedRequest {
            method,
            url: url.as_str(),
            headers: api_headers(&self.key, "application/json")?,
            body: body.map(Value::to_string).unwrap_or_default().into(),
        };
        let answer = UnguardedClient::new(TIMEOUT).call(request, |_| ()).await?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status >= 300 {
            return Err(refusal(answer.status, &value).into());
        }
        Ok((answer.status, value))
    }
}

/// Says why a call was refused: the problem (RFC 9457), and each of its errors.
fn refusal(status: u16, problem: &Value) -> String {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let errors = problem.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match errors {
        [] | [_] => format!("answered {status}: {}", text(problem, "detail")),
        many => {
            let each = many.iter().map(|error| format!("{}: {}", text(error, "pointer"), text(error, "detail")));
            format!("answered {status}: {}", each.collect::<Vec<_>>().join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusal_says_all_that_is_wrong() {
        let one = json!({"detail": "/a: x", "errors": [{"pointer": "/a", "detail": "x"}]});
        assert_eq!(refusal(422, &one), "answered 422: /a: x");
        let two = json!({"detail": "2 fields", "errors": [{"pointer": "/a", "detail": "x"}, {"pointer": "/b", "detail": "y"}]});
        assert_eq!(refusal(422, &two), "answered 422: /a: x; /b: y");
        assert_eq!(refusal(502, &Value::Null), "answered 502: ");
    }
}
