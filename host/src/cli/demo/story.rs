//! The steps of the demo. Each step checks the results that it shows.

#![allow(clippy::indexing_slicing, reason = "a JSON value indexed by a name it does not have is null")]

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::receiver::{Arrival, Receiver};
use crate::cli::Failure;
use crate::cli::listen::{SignatureHeaders, verify};
use crate::cli::plugin::api_headers;
use crate::outbound::{UnguardedClient, UnguardedRequest, sign};
use crate::standard_transforms::PLUGINS;

const UPDATED: &str = include_str!("../../../assets/events/employees_employee_update.json");
const CREATED: &str = include_str!("../../../assets/events/employee_created.json");
const CONTRACT: &str = include_str!("../../../assets/events/contracts_contract_version_update.json");
const CLOCK_IN: &str = include_str!("../../../assets/events/attendance_shift_clock_in.json");

/// The challenge of the demo's webhooks.
const CHALLENGE: &str = "knock-knock-4182";
/// The request headers that are shown.
const SHOWN: [&str; 7] = [
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "webhook-event-type",
    "x-factorial-wh-challenge",
];
/// Width of a value on one line, in characters.
const WIDTH: usize = 100;
/// Bounds the time until a delivery has its final status.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The body of an API call.
struct CallBody {
    content_type: &'static str,
    bytes: Bytes,
}

impl CallBody {
    fn none() -> Self {
        Self { content_type: "", bytes: Bytes::new() }
    }

    fn json(value: &Value) -> Self {
        Self { content_type: "application/json", bytes: value.to_string().into() }
    }

    fn wasm(bytes: &'static [u8]) -> Self {
        Self { content_type: "application/wasm", bytes: Bytes::from_static(bytes) }
    }
}

pub(super) struct Story {
    api: String,
    key: String,
    client: UnguardedClient,
    receiver: Receiver,
}

impl Story {
    pub(super) fn new(api: &str, key: &str, receiver: Receiver) -> Result<Self, Failure> {
        Ok(Self { api: format!("{api}/api/v1"), key: key.into(), client: UnguardedClient::new(MAX_WAIT), receiver })
    }

    pub(super) async fn run(mut self) -> Result<(), Failure> {
        self.upload().await?;
        self.mask().await?;
        let envelope = self.envelope().await?;
        self.filter().await?;
        self.retry().await?;
        self.overwrite(&envelope).await
    }

    async fn upload(&self) -> Result<(), Failure> {
        let mut line = Vec::new();
        for name in ["mask", "filter", "envelope"] {
            let wanted = PLUGINS.iter().find(|plugin| plugin.0.strip_prefix("std-") == Some(name));
            let (_, wasm) = wanted.ok_or("a plugin of the demo is not one of the standard plugins")?;
            let plugin = self.call(Method::PUT, &format!("/plugins/{name}"), CallBody::wasm(wasm)).await?;
            line.push(format!("{name}@{:.8} ({} KB)", text(&plugin, "/digest"), wasm.len() / 1000));
        }
        println!("0  upload     three WebAssembly components: {}", line.join(", "));
        Ok(())
    }

    async fn mask(&mut self) -> Result<(), Failure> {
        let fields = ["/bank_number", "/social_security_number", "/identifier"];
        let (event, hook) = self.subscribe(UPDATED, json!({"plugin": "mask", "config": {"fields": fields}})).await?;
        title(1, "mask", &event, "personal data is masked before it is sent");
        self.publish(&event).await?;
        let arrival = self.receiver.next().await?;
        let arrived: Value = serde_json::from_slice(&arrival.body)?;
        let mut others = event["data"].clone();
        for field in fields {
            let before = text(&event, &format!("/data{field}"));
            if let Some(masked) = others.pointer_mut(field) {
                *masked = "***".into();
            }
            ensure(text(&arrived, field) == "***", "a field that should be masked arrived unchanged")?;
            println!("   {:<26}{before:<26} →  {}", field.trim_start_matches('/'), text(&arrived, field));
        }
        ensure(arrived == others, "a field that should not be masked was changed")?;
        let others = arrived.as_object().map_or(0, |object| object.len().saturating_sub(fields.len()));
        println!("   and {others} other fields as published; with the headers");
        self.show_headers(&arrival, &hook)
    }

    fn show_headers(&self, arrival: &Arrival, hook: &Value) -> Result<(), Failure> {
        let header = |name: &str| arrival.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let secret = sign::parse_secret(text(hook, "/signing_secret"))?;
        let timestamp = header("webhook-timestamp");
        let signature =
            SignatureHeaders { id: header("webhook-id"), timestamp, signature: header("webhook-signature") };
        verify(&secret, &signature, &arrival.body, timestamp.parse()?)?;
        ensure(header("x-factorial-wh-challenge") == CHALLENGE, "the challenge header is wrong")?;
        for name in SHOWN {
            let remark = if name == "webhook-signature" { "   (verifies)" } else { "" };
            println!("   {name:<26}{}{remark}", header(name));
        }
        Ok(())
    }

    async fn envelope(&mut self) -> Result<Value, Failure> {
        let (event, hook) = self.subscribe(CREATED, json!({"plugin": "envelope"})).await?;
        title(2, "envelope", &event, "the data is wrapped in the Standard Webhooks envelope");
        self.publish(&event).await?;
        let arrival = self.receiver.next().await?;
        let arrived: Value = serde_json::from_slice(&arrival.body)?;
        ensure(arrived.pointer("/data") == event.pointer("/data"), "the envelope does not contain the data")?;
        show("published", &event["data"].to_string());
        show("arrived", &String::from_utf8_lossy(&arrival.body));
        Ok(hook)
    }

    async fn filter(&mut self) -> Result<(), Failure> {
        let config = json!({"keep": [{"field": "/country", "is": "fr"}]});
        let (event, _) = self.subscribe(CONTRACT, json!({"plugin": "filter", "config": config})).await?;
        title(3, "filter", &event, "only contracts in France are sent; this one is in Spain");
        let delivery = self.publish(&event).await?;
        let delivery = self.delivery(&delivery, "filtered").await?;
        show("config", &config.to_string());
        show(
            "log",
            &format!("status {}: {}", text(&delivery, "/status"), text(&delivery, "/attempts/0/plugin/reason")),
        );
        Ok(())
    }

    async fn retry(&mut self) -> Result<(), Failure> {
        let (event, _) = self.subscribe(CLOCK_IN, json!({})).await?;
        title(4, "retry", &event, "no plugin; the receiver fails twice");
        self.receiver.fail_next(2);
        let delivery = self.publish(&event).await?;
        self.receiver.next().await?;
        let delivery = self.delivery(&delivery, "delivered").await?;
        let attempts = delivery["attempts"].as_array().cloned().unwrap_or_default();
        ensure(attempts.len() == 3, "the delivery does not have three attempts")?;
        for attempt in attempts {
            let error = attempt["error"].as_str().unwrap_or("delivered");
            show(
                &format!("attempt {}", attempt["number"]),
                &format!("{}  {}  {error}", text(&attempt, "/started_at"), attempt["status_code"]),
            );
        }
        Ok(())
    }

    async fn overwrite(&mut self, first: &Value) -> Result<(), Failure> {
        let (event, second) = self.subscribe(CREATED, json!({})).await?;
        title(5, "overwrite", &event, "subscribed again, without a plugin");
        ensure(first["id"] == second["id"], "the overwritten webhook changed its id")?;
        self.publish(&event).await?;
        let arrival = self.receiver.next().await?;
        let arrived: Value = serde_json::from_slice(&arrival.body)?;
        ensure(Some(&arrived) == event.get("data"), "the event did not arrive as it was published")?;
        show("webhook", &format!("{} as before, plugin {}", text(&second, "/id"), second["plugin"]));
        show("arrived", &String::from_utf8_lossy(&arrival.body));
        Ok(())
    }

    /// Subscribes the receiver to the type of a sample event; returns the event and the webhook.
    async fn subscribe(&self, sample: &str, more: Value) -> Result<(Value, Value), Failure> {
        let event: Value = serde_json::from_str(sample)?;
        let mut hook = json!({"type": event["type"], "target_url": self.receiver.url(), "challenge": CHALLENGE});
        if let (Some(hook), Some(more)) = (hook.as_object_mut(), more.as_object()) {
            hook.extend(more.clone());
        }
        Ok((event, self.call(Method::POST, "/webhooks", CallBody::json(&hook)).await?))
    }

    async fn publish(&self, event: &Value) -> Result<String, Failure> {
        Ok(text(&self.call(Method::POST, "/events", CallBody::json(event)).await?, "/delivery_id").to_owned())
    }

    async fn delivery(&self, id: &str, status: &str) -> Result<Value, Failure> {
        let until = Instant::now() + MAX_WAIT;
        loop {
            let delivery = self.call(Method::GET, &format!("/deliveries/{id}"), CallBody::none()).await?;
            if delivery["status"] == status {
                return Ok(delivery);
            }
            ensure(Instant::now() < until, "a delivery did not reach its final status within 10 s")?;
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn call(&self, method: Method, path: &str, body: CallBody) -> Result<Value, Failure> {
        let headers = api_headers(&self.key, body.content_type)?;
        let url = format!("{}{path}", self.api);
        let request = UnguardedRequest { method, url: &url, headers, body: body.bytes };
        let answer = self.client.call(request, |_| ()).await?;
        if !(200..300).contains(&answer.status) {
            let problem = String::from_utf8_lossy(&answer.body);
            return Err(format!("{path} was answered {}: {problem}", answer.status).into());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

fn title(number: u8, name: &str, event: &Value, what: &str) {
    println!("\n{number}  {name:<11}{}: {what}", text(event, "/type"));
}

fn show(name: &str, what: &str) {
    let characters: Vec<char> = what.chars().collect();
    for (index, line) in characters.chunks(WIDTH).enumerate() {
        let name = if index == 0 { name } else { "" };
        println!("   {name:<11}{}", line.iter().collect::<String>());
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
