//! `posthaste plugin`: create, build, check, run and push plugins.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::plugin_new::NewArgs;
use super::{Failure, block_on, plugin_build, wasm_target};
use crate::clock::{Clock, SystemClock};
use crate::config::PluginLimits;
use crate::domain::event::Event;
use crate::domain::plugin::{Digest, Outcome, PluginCall, check_name};
use crate::domain::{headers, time};
use crate::outbound::{UnguardedClient, UnguardedRequest};
use crate::sandbox::{Cache, Compiler, Plugin, Sandbox, Source};
use crate::secret_key;
use crate::shares::{Resource, Share};

/// Bounds an upload, including the checks and the compilation on the server.
const PUSH_TIMEOUT: Duration = Duration::from_secs(900);

/// The subcommands of `posthaste plugin`.
#[derive(Subcommand)]
pub enum PluginCommand {
    /// Create the folder NAME with a working plugin: a transform, its tests, samples and a README with the next steps
    New(NewArgs),
    /// Build the plugin at PATH, in any language of `new`, to one component file
    #[command(after_help = BUILD_HELP)]
    Build(BuildArgs),
    /// Run the checks of an upload on FILE, offline
    Check(CheckArgs),
    /// Run one transform with the engine and the limits of production
    Run(RunArgs),
    /// Upload FILE to a running Posthaste
    Push(PushArgs),
}

const BUILD_HELP: &str = "\
A file in the folder determines the language: Cargo.toml, package.json, pyproject.toml or plugin.c. Rust needs no wasm target on
this machine. The compilers of the other languages are installed into the plugin's own folder, as its package.json or
requirements.txt specifies.";

/// The arguments of `posthaste plugin build`.
#[derive(Args)]
pub struct BuildArgs {
    /// Folder of the plugin
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Output file. The default is NAME.wasm in the current folder; NAME is that of the crate, or else of the plugin's
    /// folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The arguments of `posthaste plugin check`.
#[derive(Args)]
pub struct CheckArgs {
    /// Component file
    file: PathBuf,
    #[command(flatten)]
    limits: PluginLimits,
}

/// The arguments of `posthaste plugin run`.
#[derive(Args)]
pub struct RunArgs {
    /// Component file
    file: PathBuf,
    /// File with the event: {"type", "data", "id"?, "company"?, "occurred_at"?, "headers"?}
    #[arg(long, value_name = "EVENT.json")]
    event: PathBuf,
    /// File with the config: any JSON. The default config is `null`
    #[arg(long, value_name = "C.json")]
    config: Option<PathBuf>,
    #[command(flatten)]
    limits: PluginLimits,
}

/// The arguments of `posthaste plugin push`.
#[derive(Args)]
pub struct PushArgs {
    /// Component file
    file: PathBuf,
    /// Name of the plugin
    #[arg(long)]
    name: String,
    /// Base URL of Posthaste, for example http://127.0.0.1:8080
    #[arg(long)]
    url: String,
    /// API key with the scope `plugins`
    #[arg(long, hide_env_values = true)]
    key: String,
    /// Company that owns the plugin; required with a platform key
    #[arg(long)]
    company: Option<String>,
    /// Upload a candidate: webhooks keep running the active version
    #[arg(long)]
    no_activate: bool,
}

impl PluginCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The text says why the command failed: for `check`, why an upload would be refused; for `run`, the plugin's error.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Check(check) => block_on(check.run()),
            Self::Run(run) => block_on(run.run()),
            Self::Push(push) => block_on(push.run()),
        }
    }
}

impl BuildArgs {
    fn run(self) -> Result<(), Failure> {
        let built = plugin_build::build(&self.path, self.output.as_deref())?;
        println!("{} ({} bytes, {:.1} s)", built.file.display(), built.size, built.seconds);
        Ok(())
    }
}

/// A plugin file that passed all checks of an upload.
struct AdmittedPlugin {
    sandbox: Sandbox,
    compiler: Compiler,
    source: Source,
    plugin: Arc<Plugin>,
}

async fn admit(file: &Path, limits: &PluginLimits) -> Result<AdmittedPlugin, Failure> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if bytes.len() > limits.max_plugin_bytes {
        let (size, limit) = (bytes.len(), limits.max_plugin_bytes);
        return Err(format!("{} has {size} bytes; at most {limit} are allowed", file.display()).into());
    }
    let sandbox = Sandbox::new(crate::limits(limits))?;
    let label = file.file_stem().map_or_else(|| "plugin".into(), |stem| stem.to_string_lossy().into_owned());
    let share = Share::unregistered(Resource::Compilations, 1);
    let compiler = Compiler::new(Compiler::own_program(), own_cache(), Arc::new(share));
    let source = Source { label, tenant: String::new(), digest: Digest::of(&bytes), bytes: bytes.into() };
    let plugin = Arc::new(compiler.plugin(&sandbox, source.clone(), true).await?);
    sandbox.verify(&plugin).await?;
    Ok(AdmittedPlugin { sandbox, compiler, source, plugin })
}

/// Opens the user's own cache of compiled plugins, so that a second run need not compile; `None` if there is no folder
/// for it.
fn own_cache() -> Option<Cache> {
    let folder = wasm_target::Machine::from_env().cache?.join("compiled");
    let key = fs::create_dir_all(&folder).ok().and_then(|()| secret_key::load_or_generate(&folder.join("key")).ok())?;
    Cache::open(&folder.join("plugins"), &key).ok()
}

impl CheckArgs {
    async fn run(self) -> Result<(), Failure> {
        let AdmittedPlugin { plugin, source, .. } = admit(&self.file, &self.limits).await?;
        let inspection = plugin.inspection();
        println!("ok       {}", self.file.display());
        println!("digest   {}", source.digest);
        println!("size     {} bytes", inspection.size);
        println!("exports  {}", inspection.exports.join(", "));
        println!("imports  {}", inspection.imports.join(", "));
        println!("compile  {} ms, {} bytes of code", plugin.compile_ms(), plugin.code_bytes());
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFile {
    r#type: String,
    data: Box<RawValue>,
    id: Option<String>,
    company: Option<String>,
    occurred_at: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
}

impl RunArgs {
    async fn run(self) -> Result<(), Failure> {
        let event = Arc::new(read_event(&self.event)?);
        let config = self.config.as_deref().map(read_json::<Box<RawValue>>).transpose()?;
        let config: Arc<str> = config.as_ref().map_or("null", |raw| raw.get()).into();
        let AdmittedPlugin { sandbox, compiler, source, plugin } = admit(&self.file, &self.limits).await?;
        if let Err(failure) = sandbox.check_config(&plugin, config.clone()).await.result {
            return Err(format!("the config is refused: {failure}").into());
        }
        let call = sandbox.transform(&plugin, event.clone(), config.clone()).await;
        let result = show(&event, &call);
        for line in &call.logs.lines {
            println!("log      {:<5} {}", line.level.name(), line.message);
        }
        if call.logs.dropped > 0 {
            println!("log      … and {} more lines", call.logs.dropped);
        }
        println!("time     {} µs", call.duration.as_micros());
        println!("memory   {} bytes", call.memory_bytes);
        // A call that ran into its deadline has consumed an amount of fuel that depends on this machine.
        if call.duration < self.limits.plugin_deadline {
            let metered = compiler.metered(&source).await?;
            match sandbox.fuel(metered, event, config).await? {
                Some(fuel) => println!("fuel     {fuel}"),
                None => println!("fuel     too much to count"),
            }
        }
        result
    }
}

fn show(event: &Event, call: &PluginCall<Outcome>) -> Result<(), Failure> {
    println!("before   {}", event.data_text());
    match &call.result {
        Ok(Outcome::Pass) => println!("outcome  pass\nafter    {}", event.data_text()),
        Ok(Outcome::Drop(reason)) => println!("outcome  drop\nreason   {reason}"),
        Ok(Outcome::Replace(message)) => {
            println!("outcome  replace\nafter    {}", message.body);
            if let Some(kind) = &message.content_type {
                println!("content-type: {kind}");
            }
            for (name, value) in &message.headers {
                println!("header   {name}: {value}");
            }
            headers::check_all(&message.headers, "x-factorial-wh-challenge")?;
        }
        Err(failure) => {
            println!("outcome  error\nreason   {failure}");
            return Err("the transform failed".into());
        }
    }
    Ok(())
}

fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?)
}

fn read_event(file: &Path) -> Result<Event, Failure> {
    let event: EventFile = read_json(file)?;
    let bad = || format!("{}: occurred_at is not an instant in RFC 3339 format", file.display());
    let occurred_at = match &event.occurred_at {
        Some(text) => time::parse_rfc3339(text).ok_or_else(bad)?,
        None => SystemClock.now_ms(),
    };
    Ok(Event {
        id: event.id.unwrap_or_else(|| "evt_example".into()),
        event_type: event.r#type,
        company: event.company.unwrap_or_else(|| "example".into()),
        occurred_at,
        headers: event.headers.into_iter().collect(),
        data: Bytes::from(event.data.get().to_owned()),
    })
}

impl PushArgs {
    async fn run(self) -> Result<(), Failure> {
        check_name(&self.name)?;
        let bytes = fs::read(&self.file).map_err(|error| format!("{}: {error}", self.file.display()))?;
        let mut url = url::Url::parse(&self.url).map_err(|error| format!("--url {}: {error}", self.url))?;
        url.set_path(&format!("{}/api/v1/plugins/{}", url.path().trim_end_matches('/'), self.name));
        if let Some(company) = &self.company {
            url.query_pairs_mut().append_pair("company", company);
        }
        if self.no_activate {
            url.query_pairs_mut().append_pair("activate", "false");
        }
        let bar = ProgressBar::new(bytes.len() as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {msg}") {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let report = move |sent| shown.set_position(sent as u64);
        let request = UnguardedRequest {
            method: http::Method::PUT,
            url: url.as_str(),
            headers: api_headers(&self.key, "application/wasm")?,
            body: bytes.into(),
        };
        let answer = UnguardedClient::new(PUSH_TIMEOUT).call(request, report).await?;
        bar.finish_and_clear();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status {
            200 => println!("unchanged: this version exists already\n{text}"),
            201 => println!("{text}"),
            status => return Err(format!("the upload was answered {status}: {}", detail(&text)).into()),
        }
        Ok(())
    }
}

/// Returns the headers of an API call.
pub(super) fn api_headers(key: &str, content_type: &'static str) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| "the API key is invalid")?;
    bearer.set_sensitive(true);
    headers.insert(AUTHORIZATION, bearer);
    Ok(headers)
}

/// Returns the `detail` of a problem (RFC 9457), or the whole answer if it is not a problem.
fn detail(answer: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(answer).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    detail.unwrap_or(answer).to_owned()
}
