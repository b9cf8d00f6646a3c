//! Sends a range of deliveries again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::parse_status;
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesWrite};
use crate::api::body::{self, MAX_JSON_BYTES};
use crate::api::problem::Problem;
use crate::domain::time::{HOW_WRITTEN, parse_rfc3339};
use crate::domain::{Invalid, event};
use crate::store::Replay;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayRequest {
    r#type: Option<String>,
    status: Option<String>,
    since: String,
    until: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api) struct ReplayView {
    count: u64,
}

/// `POST /deliveries/replay`: 202; the replay goes on in the background.
pub(in crate::api) async fn replay(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<ReplayView>), Problem> {
    let bytes = body::read(request, MAX_JSON_BYTES).await?;
    let selection: ReplayRequest = body::json(&bytes)?;
    let now = api.clock.now_ms();
    let id = api.engine.ids.next("rpl", now);
    let replay = selection.check(id, company, now)?;
    Ok((StatusCode::ACCEPTED, Json(ReplayView { count: api.engine.replayer.replay(replay).await? })))
}

impl ReplayRequest {
    /// Checks the selection at `now`, in milliseconds since 1970.
    fn check(self, id: String, company: String, now: i64) -> Result<Replay, Invalid> {
        if let Some(name) = &self.r#type {
            event::check_type(name).map_err(|detail| Invalid::at("/type", detail))?;
        }
        let since = instant("/since", &self.since)?;
        // An event that is accepted from now on is sent anyway.
        let until = self.until.as_deref().map_or(Ok(now), |text| instant("/until", text))?.min(now);
        if until < since && self.until.is_some() {
            return Err(Invalid::at("/until", "`until` is before `since`"));
        }
        let status = self.status.as_deref().map(parse_status).transpose();
        let status = status.map_err(|detail| Invalid::at("/status", detail))?;
        Ok(Replay { id, company, event_type: self.r#type, status, since, until, now })
    }
}

fn instant(pointer: &str, text: &str) -> Result<i64, Invalid> {
    parse_rfc3339(text).ok_or_else(|| Invalid::at(pointer, HOW_WRITTEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::rfc3339;

    const NOW: i64 = 1_790_000_000_000;

    fn check(since: i64, until: Option<i64>) -> Result<Replay, Invalid> {
        let until = until.map(rfc3339);
        let request = ReplayRequest { r#type: None, status: None, since: rfc3339(since), until };
        request.check("rpl_1".into(), "acme".into(), NOW)
    }

    #[test]
    fn a_replay_ends_now_at_the_latest() {
        let until = |until| check(0, until).unwrap().until;
        assert_eq!((until(None), until(Some(NOW + 5000)), until(Some(NOW - 5000))), (NOW, NOW, NOW - 5000));
    }

    #[test]
    fn only_a_given_until_before_since_is_refused() {
        assert_eq!(check(NOW, Some(NOW - 1000)).err().map(|error| error.pointer).as_deref(), Some("/until"));
        assert!(check(NOW, Some(NOW)).is_ok() && check(NOW + 5000, None).is_ok());
    }
}
