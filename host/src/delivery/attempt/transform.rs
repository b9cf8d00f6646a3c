//! Runs the transforms of an event: those of its webhook, and of the policies of its company.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::chain::{Chain, ChainCall, ChainEnd, ChainRun, ChainStep};
use super::outgoing::{Outgoing, Prepared, check_headers};
use crate::delivery::compiled_plugins::CompiledPlugins;
use crate::domain::event::Event;
use crate::domain::plugin::{Digest, Failure, Outcome, PluginCall, outcome_name_and_reason, owner};
use crate::domain::plugin_config::PluginConfig;
use crate::domain::policy::Policy;
use crate::domain::transform::{OnError, TransformRef};
use crate::domain::webhook::Webhook;
use crate::metrics::Metrics;
use crate::sandbox::{Plugin, Sandbox, SandboxThread};
use crate::shares::{Part, Share};
use crate::store::Store;

/// The calls of plugins, as the log and the recorder need them.
#[derive(Debug, Default)]
pub(in crate::delivery) struct PluginReport {
    /// As [`crate::domain::delivery::Attempt::plugin`].
    pub(in crate::delivery) shown: Option<Box<RawValue>>,
    pub(in crate::delivery) result: PluginResult,
}

/// Whether the plugins worked, whatever `on_error` says about failures.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::delivery) enum PluginResult {
    /// There is none, or the host could not call one.
    #[default]
    NotCalled,
    Worked,
    /// One failed; of several, the last.
    Failed(Box<PluginFault>),
}

/// The failure of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delivery) struct PluginFault {
    pub(in crate::delivery) name: String,
    pub(in crate::delivery) digest: Option<Digest>,
    pub(in crate::delivery) error: String,
}

impl PluginResult {
    fn failed(transform: TransformRef<'_>, error: &str) -> Self {
        let (name, digest) = (transform.plugin.name.clone(), transform.digest.cloned());
        Self::Failed(Box::new(PluginFault { name, digest, error: error.to_owned() }))
    }
}

/// Runs plugins under the rules of the contract.
pub struct Transformer {
    plugins: Arc<CompiledPlugins>,
    sandbox: Sandbox,
    metrics: Arc<Metrics>,
    store: Arc<Store>,
    /// Memory of large configs.
    memory: Arc<Share>,
    /// Lower-case.
    challenge_header: String,
}

impl Transformer {
    /// `challenge_header` is the lower-case name of the header that a plugin may not set. Large configs take `memory`.
    pub(in crate::delivery) fn new(
        plugins: Arc<CompiledPlugins>,
        sandbox: Sandbox,
        metrics: Arc<Metrics>,
        challenge_header: String,
        memory: Arc<Share>,
    ) -> Self {
        let store = plugins.store.clone();
        Self { plugins, sandbox, metrics, store, memory, challenge_header }
    }

    /// Runs the transforms of the event, if it has any: those of its webhook, then those of the policies that match its type.
    pub(in crate::delivery) async fn prepare(&self, event: &Arc<Event>, webhook: &Webhook) -> (Prepared, PluginReport) {
        let policies = match self.store.policies_in_force(&webhook.company).await {
            Ok(policies) => policies,
            Err(error) => {
                let why = format!("nothing is sent, because the policies of the company cannot be read: {error}");
                return (Prepared::HostFailed(why), PluginReport::default());
            }
        };
        let after = policies.iter().filter(|policy| policy.matches(&event.event_type)).flat_map(Policy::transforms);
        let mut transforms = webhook.transforms().chain(after);
        let Some(first) = transforms.next() else {
            return (Prepared::Send(Outgoing::original(event)), PluginReport::default());
        };
        match transforms.next() {
            None => self.run_one(event, first).await,
            Some(second) => {
                let all: Vec<_> = [first, second].into_iter().chain(transforms).collect();
                self.run_several(event, &all).await
            }
        }
    }

    async fn run_one(&self, event: &Arc<Event>, transform: TransformRef<'_>) -> (Prepared, PluginReport) {
        let plugin = match self.version_of(&event.company, transform).await {
            Ok(plugin) => plugin,
            Err(text) => return not_called(transform, text),
        };
        let (config, memory) = match self.config(&event.company, transform).await {
            Ok(config) => config,
            Err(text) => return not_called(transform, text),
        };
        let call = self.call(&plugin, event.clone(), config).await;
        drop(memory);
        let (shown, result) = self.noted(transform, outcome_name_and_reason(&call.result), &call);
        let report = PluginReport { shown: to_raw_value(&shown).ok(), result };
        (ChainEnd::of(call.result, transform.on_error, &transform.plugin.name).prepared(event), report)
    }

    async fn run_several(&self, event: &Arc<Event>, transforms: &[TransformRef<'_>]) -> (Prepared, PluginReport) {
        let (steps, memory) = match self.steps(&event.company, transforms).await {
            Ok(ready) => ready,
            Err((transform, text)) => return not_called(transform, text),
        };
        let mut run = self.chain(event.clone(), steps).await;
        drop(memory);
        let mut result = PluginResult::Worked;
        let mut all = Vec::with_capacity(run.calls.len());
        for (transform, ChainCall { outcome, reason, call }) in transforms.iter().zip(run.calls.drain(..)) {
            let (shown, of_one) = self.noted(*transform, (outcome, reason), &call);
            if of_one != PluginResult::Worked {
                result = of_one;
            }
            all.push(shown);
        }
        (run.prepared(event), PluginReport { shown: to_raw_value(&all).ok(), result })
    }

    /// Counts a call, and returns how an attempt shows it, and whether the plugin worked.
    fn noted<T>(
        &self,
        transform: TransformRef<'_>,
        outcome: (&'static str, Option<String>),
        call: &PluginCall<T>,
    ) -> (Value, PluginResult) {
        self.metrics.transform_ended(&transform.plugin.name, call.duration, call.result.is_err());
        let result = match &call.result {
            Ok(_) => PluginResult::Worked,
            Err(failure) => PluginResult::failed(transform, &failure.to_string()),
        };
        (shown(transform, outcome, call), result)
    }

    /// The lower-case name of the header that carries a webhook's challenge.
    pub(in crate::delivery) fn challenge_header(&self) -> &str {
        &self.challenge_header
    }

    async fn version_of(&self, company: &str, transform: TransformRef<'_>) -> Result<Arc<Plugin>, String> {
        let name = &transform.plugin.name;
        let found = match transform.digest {
            Some(digest) => self.plugins.get(owner(company, name), name, digest).await,
            None => Err("it has no active version".into()),
        };
        found.map_err(|text| format!("plugin `{name}`: {text}"))
    }

    /// Returns the config of a transform of a company, with its part of the memory if it is large. The part has to be given back
    /// before another is taken.
    ///
    /// # Errors
    /// It cannot be read now, in words.
    pub(in crate::delivery) async fn config(
        &self,
        company: &str,
        transform: TransformRef<'_>,
    ) -> Result<(Arc<str>, Option<Part>), String> {
        if let Some(text) = transform.config.text() {
            return Ok((text.clone(), None));
        }
        let memory = self.memory_of(company, &[transform]).await?;
        Ok((self.read_config(transform).await?, memory))
    }

    /// Takes the memory of those of the configs that are read for the call.
    async fn memory_of(&self, company: &str, transforms: &[TransformRef<'_>]) -> Result<Option<Part>, String> {
        let unread = transforms.iter().map(|transform| transform.config).filter(|config| config.text().is_none());
        let bytes: usize = unread.map(PluginConfig::bytes).sum();
        if bytes == 0 {
            return Ok(None);
        }
        let bytes = self.memory.obtainable(bytes as u64);
        self.memory.take_patiently(company, bytes).await.map(Some).map_err(|full| full.to_string())
    }

    async fn read_config(&self, transform: TransformRef<'_>) -> Result<Arc<str>, String> {
        let config = self.store.config_text(transform.config, transform.config_digest).await;
        config.map_err(|error| format!("the config cannot be read: {error}"))
    }

    /// Makes several transforms of a company ready to be called, as [`Transformer::config`] does one.
    ///
    /// # Errors
    /// The transform that cannot be called now, and why, in words.
    pub(in crate::delivery) async fn steps<'t>(
        &self,
        company: &str,
        transforms: &[TransformRef<'t>],
    ) -> Result<(Vec<ChainStep>, Option<Part>), (TransformRef<'t>, String)> {
        let Some(first) = transforms.first() else { return Ok((Vec::new(), None)) };
        let memory = self.memory_of(company, transforms).await.map_err(|text| (*first, text))?;
        let mut steps = Vec::with_capacity(transforms.len());
        for transform in transforms {
            let step = async {
                let plugin = self.version_of(company, *transform).await?;
                let (name, config) = (transform.plugin.name.clone(), self.read_config(*transform).await?);
                Ok(ChainStep { name, plugin, config, on_error: transform.on_error })
            };
            steps.push(step.await.map_err(|text: String| (*transform, text))?);
        }
        Ok((steps, memory))
    }

    /// Calls a plugin once, judged as for a delivery: a plugin that sets a protected header has failed. Nothing is sent or
    /// stored.
    pub async fn call(&self, plugin: &Arc<Plugin>, event: Arc<Event>, config: Arc<str>) -> PluginCall<Outcome> {
        let call = self.sandbox.transform(plugin, event, config).await;
        check_headers(call, &self.challenge_header)
    }

    /// Calls plugins one after the other, as [`Transformer::call`] does one: each gets what the one before made. Those that
    /// together take as long as one call may take leave their thread to others before the next.
    pub async fn chain(&self, event: Arc<Event>, steps: Vec<ChainStep>) -> ChainRun {
        let (company, most) = (event.company.clone(), self.sandbox.deadline());
        let mut chain = Chain::new(event, steps);
        while let Some(next) = chain.next() {
            let (name, plugin) = (next.name.clone(), next.plugin.clone());
            let challenge_header = self.challenge_header.clone();
            let visit = move |thread: SandboxThread<'_>| {
                chain.advance(&challenge_header, most, |step, event| {
                    thread.transform(&step.plugin, event, &step.config)
                });
                chain
            };
            chain = match self.sandbox.visit(&company, &plugin, visit).await {
                Some(advanced) => advanced,
                None => {
                    return ChainRun::not_made(name, "the sandbox failed while it ran; this is a fault of the host");
                }
            };
        }
        chain.ended()
    }
}

/// The attempt at an event of which the host could not call this plugin. The event waits, whatever `on_error` says.
fn not_called(transform: TransformRef<'_>, text: String) -> (Prepared, PluginReport) {
    let call = PluginCall::<Outcome>::failed(Failure::Broke(text.clone()));
    let transform = TransformRef { on_error: OnError::Retry, ..transform };
    let shown = shown(transform, outcome_name_and_reason(&call.result), &call);
    (Prepared::HostFailed(text), PluginReport { shown: to_raw_value(&shown).ok(), result: PluginResult::NotCalled })
}

/// The contract's `plugin` object. If the outcome is an error, it also says what `on_error` was followed.
fn shown<T>(
    transform: TransformRef<'_>,
    (outcome, reason): (&'static str, Option<String>),
    call: &PluginCall<T>,
) -> Value {
    let mut report = json!({
        "name": transform.plugin.name,
        "digest": transform.digest.map(Digest::as_str),
        "config_digest": transform.config_digest.as_str(),
        "outcome": outcome,
        "reason": reason,
        "duration_us": call.duration_us(),
        "memory_bytes": call.memory_bytes,
        "logs": call.logs.shown(),
        "logs_dropped": call.logs.dropped,
    });
    if let (Err(_), Some(report)) = (&call.result, report.as_object_mut()) {
        report.insert("on_error".into(), transform.on_error.name().into());
    }
    if let (Some(policy), Some(report)) = (transform.policy, report.as_object_mut()) {
        report.insert("policy".into(), policy.into());
    }
    report
}
