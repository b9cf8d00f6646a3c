//! Checks the data of published events against the schemas of their types.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::task::{spawn, spawn_blocking};

use crate::api::problem::{Problem, ProblemKind};
use crate::api::turns::heavy_call;
use crate::api::{ApiState, MAX_CHANGE_RETRIES};
use crate::delivery::NewEvent;
use crate::domain::Invalid;
use crate::domain::event_type::Validation;
use crate::domain::json_schema::{Steps, Unfinished};
use crate::store::{ReadSchema, Store, StoreError};

/// Data up to this size are checked at once: it takes about a millisecond, with [`Steps::QUICK`].
const SMALL_DATA: usize = 16 * 1024;

/// What is wrong with an event that was accepted all the same.
#[derive(Debug, Serialize)]
pub(super) struct Warning {
    pointer: String,
    detail: String,
}

impl From<Invalid> for Warning {
    fn from(Invalid { pointer, detail }: Invalid) -> Self {
        Self { pointer, detail }
    }
}

/// Checks an event against the schema of its type, if the company wants that, and returns what is wrong with an event that
/// is accepted all the same.
///
/// # Errors
/// 422 with what is wrong, if the company wants such events refused; 429 or 503 if the company, or others, have all heavy calls;
/// 500 if the schema cannot be used any more.
pub(super) async fn check(api: &ApiState, event: &NewEvent) -> Result<Vec<Warning>, Problem> {
    let Some((validation, schema)) = rule(api, event).await? else { return Ok(Vec::new()) };
    let faults = match schema.as_ref() {
        Ok(_) => faults(api, event, &schema).await?,
        Err(reason) if validation == Validation::Reject => {
            let detail = format!(
                "this version cannot use the schema of event type `{}` any more, so its events are refused: {reason}; nothing \
                 was stored: correct it with PUT /event-types/{{type}}",
                event.event_type
            );
            return Err(Problem::new(ProblemKind::Internal, detail));
        }
        Err(reason) => vec![Invalid::at("", format!("it was not checked: the schema cannot be used: {reason}"))],
    };
    if faults.is_empty() {
        return Ok(Vec::new());
    }
    api.metrics.event_invalid(validation);
    let faults = faults.into_iter().map(|fault| fault.below("/data"));
    match validation {
        Validation::Reject => Err(Problem::invalid(faults.collect())),
        Validation::Warn | Validation::Off => Ok(faults.map(Warning::from).collect()),
    }
}

/// Returns what happens to an invalid event, and the schema; `None` if events of the type are not checked.
async fn rule(api: &ApiState, event: &NewEvent) -> Result<Option<(Validation, Arc<ReadSchema>)>, Problem> {
    let NewEvent { company, event_type, .. } = event;
    let Some(found) = api.store.event_rule(company, event_type).await? else { return Ok(None) };
    if let Some(schema) = found.schema {
        return Ok(Some((found.validation, schema)));
    }
    let turn = heavy_call(api, company, None).await?;
    let (store, company, event_type) = (api.store.clone(), company.clone(), event_type.clone());
    // It keeps its turn until it ends, also if the client has gone.
    let read = spawn(async move {
        let rule = read_rule(&store, &company, &event_type).await;
        drop(turn);
        rule
    });
    Ok(read.await.map_err(|_| unchecked())??)
}

/// Reads a rule with its schema, unless another event has done so meanwhile; again if it is changed while it is read.
async fn read_rule(
    store: &Store,
    company: &str,
    event_type: &str,
) -> Result<Option<(Validation, Arc<ReadSchema>)>, StoreError> {
    let mut retries = 0;
    loop {
        let Some(found) = store.event_rule(company, event_type).await? else { return Ok(None) };
        let schema = match found.schema.clone() {
            Some(schema) => Ok(schema),
            None => store.read_schema(company, event_type, &found).await,
        };
        match schema {
            Err(StoreError::Changed(_)) if retries < MAX_CHANGE_RETRIES => retries += 1,
            schema => return Ok(Some((found.validation, schema?))),
        }
    }
}

async fn faults(api: &ApiState, event: &NewEvent, schema: &Arc<ReadSchema>) -> Result<Vec<Invalid>, Problem> {
    if event.data.len() <= SMALL_DATA {
        match check_data(schema, &event.data, Steps::QUICK) {
            Ok(faults) => return Ok(faults),
            Err(Unfinished::Depth) => return Ok(vec![Invalid::at("", Unfinished::Depth.to_string())]),
            Err(Unfinished::Steps) => (),
        }
    }
    let turn = heavy_call(api, &event.company, None).await?;
    let (schema, data) = (schema.clone(), event.data.clone());
    let check = move || {
        let checked = check_data(&schema, &data, Steps::MOST);
        // It keeps its turn until it ends, also if the client has gone.
        drop(turn);
        checked
    };
    let checked = spawn_blocking(check).await.map_err(|_| unchecked())?;
    Ok(checked.unwrap_or_else(|unfinished| vec![Invalid::at("", unfinished.to_string())]))
}

fn unchecked() -> Problem {
    Problem::new(ProblemKind::Internal, "the event could not be checked; nothing was stored, try again")
}

fn check_data(schema: &ReadSchema, data: &Bytes, steps: Steps) -> Result<Vec<Invalid>, Unfinished> {
    match schema {
        Ok(schema) => schema.check(std::str::from_utf8(data).unwrap_or_default(), steps),
        Err(_) => Ok(Vec::new()),
    }
}
