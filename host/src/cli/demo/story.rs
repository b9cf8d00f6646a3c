//! The steps of the story. Each asserts what it shows.

#![allow(clippy::indexing_slicing, reason = "a JSON value indexed by a name it does not have is null")]

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::receiver::{Arrival, Receiver};
use crate::cli::Failure;
use crate::cli::listen::verify;
use crate::cli::plugin::api_headers;
use crate::outbound::{Plain, sign};
use crate::standard::PLUGINS;

const UPDATED: &str = include_str!("../../../assets/events/employees_employee_update.json");
const CREATED: &str = include_str!("../../../assets/events/employee_created.json");
const CONTRACT: &str = include_str!("../../../assets/events/contracts_contract_version_update.json");
const CLOCK_IN: &str = include_str!("../../../assets/events/attendance_shift_clock_in.json");

/// The challenge of the story's webhooks.
const CHALLENGE: &str = "knock-knock-4182";
/// The headers that are shown of what arrived.
const SHOWN: [&str; 7] = [
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "webhook-event-type",
    "x-factorial-wh-challenge",
];
/// Characters of a value on one line.
const WIDTH: usize = 100;
/// How long a delivery may take to come to its end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Story {
    api: String,
    key: String,
    client: Plain,
    receiver: Receiver,
}

impl Story {
    pub(super) fn new(api: &str, key: &str, receiver: Receiver) -> Result<Self, Failure> {
        Ok(Self { api: format!("{api}/api/v1"), key: key.into(), client: Plain::new(PATIENCE), receiver })
    }

    pub(super) async fn tell(mut self) -> Result<(), Failure> {
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
            let ships = |(standard, _): &&(&str, &'static [u8])| standard.strip_prefix("std-") == Some(name);
            let (_, wasm) = PLUGINS.iter().find(ships).ok_or("a plugin of the story does not ship any more")?;
            let body = ("application/wasm", Bytes::from_static(wasm));
            let (_, plugin) = self.call(Method::PUT, &format!("/plugins/{name}"), body).await?;
            line.push(format!("{name}@{:.8} ({} KB)", text(&plugin, "/digest"), wasm.len() / 1000));
        }
        println!("0  upload     three WebAssembly components: {}", line.join(", "));
        Ok(())
    }

    async fn mask(&mut self) -> Result<(), Failure> {
        let fields = ["/bank_number", "/social_security_number", "/identifier"];
        let (event, hook) = self.subscribe(UPDATED, json!({"plugin": "mask", "config": {"fields": fields}})).await?;
        title(1, "mask", &event, "personal data does not leave the company");
        self.publish(&event).await?;
        let arrival = self.receiver.next().await?;
        let arrived: Value = serde_json::from_slice(&arrival.body)?;
        let mut others = event["data"].clone();
        for field in fields {
            let before = text(&event, &format!("/data{field}"));
            if let Some(masked) = others.pointer_mut(field) {
                *masked = "***".into();
            }
            ensure(text(&arrived, field) == "***", "a masked field arrived in the clear")?;
            println!("   {:<26}{before:<26} →  {}", field.trim_start_matches('/'), text(&arrived, field));
        }
        ensure(arrived == others, "a field that is not masked was changed")?;
        let others = arrived.as_object().map_or(0, |object| object.len().saturating_sub(fields.len()));
        println!("   and {others} other fields as published; with the headers");
        self.show_headers(&arrival, &hook)
    }

    fn show_headers(&self, arrival: &Arrival, hook: &Value) -> Result<(), Failure> {
        let header = |name: &str| arrival.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let secret = sign::parse_secret(text(hook, "/signing_secret"))?;
        let (id, at, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
        verify(&secret, (id, at, signature), &arrival.body, at.parse()?)?;
        ensure(header("x-factorial-wh-challenge") == CHALLENGE, "the challenge did not come back")?;
        for name in SHOWN {
            let remark = if name == "webhook-signature" { "   (verifies)" } else { "" };
            println!("   {name:<26}{}{remark}", header(name));
        }
        Ok(())
    }

    async fn envelope(&mut self) -> Result<Value, Failure> {
        let (event, hook) = self.subscribe(CREATED, json!({"plugin": "envelope"})).await?;
        title(2, "envelope", &event, "a bare body gets the Standard Webhooks envelope");
        self.publish(&event).await?;
        let arrival = self.receiver.next().await?;
        let arrived: Value = serde_json::from_slice(&arrival.body)?;
        ensure(arrived.pointer("/data") == event.pointer("/data"), "the data did not arrive in the envelope")?;
        show("published", &event["data"].to_string());
        show("arrived", &String::from_utf8_lossy(&arrival.body));
        Ok(hook)
    }

    async fn filter(&mut self) -> Result<(), Failure> {
        let config = json!({"keep": [{"field": "/country", "is": "fr"}]});
        let (event, _) = self.subscribe(CONTRACT, json!({"plugin": "filter", "config": config})).await?;
        title(3, "filter", &event, "only contracts in France are of interest; this one is in Spain");
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
        title(4, "retry", &event, "no plugin; the receiver is down for a moment");
        self.receiver.fail_next(2);
        let delivery = self.publish(&event).await?;
        self.receiver.next().await?;
        let delivery = self.delivery(&delivery, "delivered").await?;
        let attempts = delivery["attempts"].as_array().cloned().unwrap_or_default();
        ensure(attempts.len() == 3, "it was not attempted three times")?;
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

    /// Subscribes the receiver to a sample event's type; answers the event and the webhook.
    async fn subscribe(&self, sample: &str, more: Value) -> Result<(Value, Value), Failure> {
        let event: Value = serde_json::from_str(sample)?;
        let mut hook = json!({"type": event["type"], "target_url": self.receiver.url(), "challenge": CHALLENGE});
        if let (Some(hook), Some(more)) = (hook.as_object_mut(), more.as_object()) {
            hook.extend(more.clone());
        }
        let body = ("application/json", hook.to_string().into());
        Ok((event, self.call(Method::POST, "/webhooks", body).await?.1))
    }

    async fn publish(&self, event: &Value) -> Result<String, Failure> {
        let body = ("application/json", event.to_string().into());
        Ok(text(&self.call(Method::POST, "/events", body).await?.1, "/delivery_id").to_owned())
    }

    async fn delivery(&self, id: &str, status: &str) -> Result<Value, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, delivery) = self.call(Method::GET, &format!("/deliveries/{id}"), ("", "".into())).await?;
            if delivery["status"] == status {
                return Ok(delivery);
            }
            ensure(Instant::now() < until, "a delivery did not come to its end within 10 s")?;
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        (content_type, body): (&'static str, Bytes),
    ) -> Result<(u16, Value), Failure> {
        let request = (api_headers(&self.key, content_type)?, body);
        let (status, answer) = self.client.call(method, &format!("{}{path}", self.api), request, |_| ()).await?;
        if !(200..300).contains(&status) {
            return Err(format!("{path} was answered {status}: {}", String::from_utf8_lossy(&answer)).into());
        }
        Ok((status, serde_json::from_slice(&answer)?))
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
