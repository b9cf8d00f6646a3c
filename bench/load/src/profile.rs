//! Profiles: how a dispatcher is set up and how an event is published to it (README.md has the format).

use std::path::Path;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};

use crate::Error;
use crate::connection::{Connection, Endpoint};
use crate::template::{Variables, fill};

/// A profile (JSON) and its variables.
pub struct Profile {
    json: Value,
    /// The variables for `{{name}}`.
    pub variables: Variables,
}

impl Profile {
    /// Reads a profile, or returns an empty one; `overrides` are `name=value`.
    pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<Profile, Error> {
        let json: Value = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => json!({}),
        };
        let mut variables = Variables::new();
        for (name, value) in json["vars"].as_object().into_iter().flatten() {
            variables.insert(name.clone(), text_of(value));
        }
        for pair in overrides {
            let (name, value) = pair.split_once('=').ok_or("--var takes name=value")?;
            variables.insert(name.into(), value.into());
        }
        Ok(Profile { json, variables })
    }

    /// Runs the setup steps; a step with `per_sub` runs once for each of `subscriptions`.
    pub async fn set_up(&mut self, subscriptions: u64) -> Result<(), Error> {
        for step in self.json["setup"].as_array().cloned().unwrap_or_default() {
            let per_subscription = step["per_sub"].as_bool().unwrap_or(false);
            for n in 1..=if per_subscription { subscriptions } else { 1 } {
                self.variables.insert("n".into(), n.to_string());
                self.run_step(&step).await?;
            }
        }
        Ok(())
    }

    async fn run_step(&mut self, step: &Value) -> Result<(), Error> {
        let url = step["url"].as_str().ok_or("a setup step has no url")?;
        let endpoint = self.endpoint(step, url)?;
        let uri = &endpoint.uri;
        let body = fill(&text_of(&step["body"]), &self.variables);
        let (status, response) = Connection::new(uri)?.call(&endpoint, body.into()).await?;
        if !status.is_success() && step["required"].as_bool().unwrap_or(true) {
            return Err(format!("setup: {uri}: {status}: {}", String::from_utf8_lossy(&response)).into());
        }
        for (name, pointer) in step["capture"].as_object().into_iter().flatten() {
            let response: Value = serde_json::from_slice(&response)?;
            let found = response.pointer(pointer.as_str().unwrap_or_default());
            let found = found.ok_or_else(|| format!("setup: {uri}: no {pointer} in {response}"))?;
            self.variables.insert(name.clone(), text_of(found));
        }
        Ok(())
    }

    /// Returns the request that publishes; `url` and `headers` (`name: value`) override and extend the profile's.
    pub fn publish_endpoint(&self, url: Option<&str>, headers: &[String]) -> Result<Endpoint, Error> {
        let publish = &self.json["publish"];
        let url = url.or(publish["url"].as_str()).ok_or("there is no publish URL: name a profile or --publish-url")?;
        let mut endpoint = self.endpoint(publish, url)?;
        for text in headers {
            let (name, value) = text.split_once(':').ok_or("--publish-header takes 'name: value'")?;
            endpoint.headers.push((name.trim().parse()?, fill(value.trim(), &self.variables).parse()?));
        }
        Ok(endpoint)
    }

    /// Returns the profile's template of the publish body.
    pub fn publish_body(&self) -> String {
        text_of(&self.json["publish"]["body"])
    }

    fn endpoint(&self, request: &Value, url: &str) -> Result<Endpoint, Error> {
        let method: Method = request["method"].as_str().unwrap_or("POST").parse()?;
        let uri: Uri = fill(url, &self.variables).parse()?;
        Ok(Endpoint { method, uri, headers: self.headers(&request["headers"])? })
    }

    fn headers(&self, map: &Value) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        let mut headers = Vec::new();
        for (name, value) in map.as_object().into_iter().flatten() {
            let value = fill(value.as_str().ok_or("header values must be strings")?, &self.variables);
            headers.push((name.parse()?, value.parse()?));
        }
        if !headers.iter().any(|(name, _)| *name == CONTENT_TYPE) {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        Ok(headers)
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
