//! `posthaste plugin`

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

use super::plugin_new::New;
use super::{Failure, block_on, plugin_build, wasm_target};
use crate::clock::{Clock, SystemClock};
use crate::config::PluginLimits;
use crate::domain::event::Event;
use crate::domain::plugin::{Call, Digest, Outcome, check_name};
use crate::domain::{headers, time};
use crate::outbound::Plain;
use crate::sandbox::{Cache, Compiler, Plugin as Compiled, Sandbox, Source};
use crate::secret_key;

/// How long an upload may take, checking and compiling included.
const PUSH_TIMEOUT: Duration = Duration::from_secs(900);

/// What to do with a plugin.
#[derive(Subcommand)]
pub enum Plugin {
    /// Make the folder NAME with a plugin in it: a transform, its tests, samples and a README that says what to do next
    New(New),
    /// Build the plugin at PATH, in whichever of the languages of `new`, to one component file
    #[command(after_help = BUILD_HELP)]
    Build(Build),
    /// Run the upload's checks on FILE, offline
    Check(Check),
    /// Run one transform with the production engine and limits
    Run(Run),
    /// Upload FILE to a running Posthaste
    Push(Push),
}

const BUILD_HELP: &str = "\
The language is told by a file: Cargo.toml, package.json, pyproject.toml or plugin.c. Rust needs no wasm target on this machine. The
other languages' compilers are installed into the plugin's own folder, as its package.json or requirements.txt asks.";

/// What to build.
#[derive(Args)]
pub struct Build {
    /// The plugin's folder
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the component goes; by default NAME.wasm here, by the name of the crate or else of the plugin's folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What to check.
#[derive(Args)]
pub struct Check {
    /// The component
    file: PathBuf,
    #[command(flatten)]
    limits: PluginLimits,
}

/// What to run.
#[derive(Args)]
pub struct Run {
    /// The component
    file: PathBuf,
    /// The event: {"type", "data", "id"?, "company"?, "occurred_at"?, "headers"?}
    #[arg(long, value_name = "EVENT.json")]
    event: PathBuf,
    /// The config, any JSON; without it `null`
    #[arg(long, value_name = "C.json")]
    config: Option<PathBuf>,
    #[command(flatten)]
    limits: PluginLimits,
}

/// What to upload, and where.
#[derive(Args)]
pub struct Push {
    /// The component
    file: PathBuf,
    /// The plugin's name
    #[arg(long)]
    name: String,
    /// Where Posthaste runs, for example http://127.0.0.1:8080
    #[arg(long)]
    url: String,
    /// An API key with the scope `plugins`
    #[arg(long, hide_env_values = true)]
    key: String,
    /// The company, where the key is a platform key
    #[arg(long)]
    company: Option<String>,
    /// Upload a candidate: webhooks keep running the active version
    #[arg(long)]
    no_activate: bool,
}

impl Plugin {
    /// Runs the command.
    ///
    /// # Errors
    /// Why it failed; for `check` and `run`, why the plugin would be refused or what it answered.
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

impl Build {
    fn run(self) -> Result<(), Failure> {
        let built = plugin_build::build(&self.path, self.output.as_deref())?;
        println!("{} ({} bytes, {:.1} s)", built.file.display(), built.size, built.seconds);
        Ok(())
    }
}

/// A file that was admitted exactly as the upload would.
struct Admitted {
    sandbox: Sandbox,
    compiler: Compiler,
    source: Source,
    plugin: Arc<Compiled>,
}

async fn admit(file: &Path, limits: &PluginLimits) -> Result<Admitted, Failure> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if bytes.len() > limits.max_plugin_bytes {
        let (has, may) = (bytes.len(), limits.max_plugin_bytes);
        return Err(format!("{} has {has} bytes; at most {may} may be uploaded", file.display()).into());
    }
    let sandbox = Sandbox::new(crate::limits(limits))?;
    let label = file.file_stem().map_or_else(|| "plugin".into(), |stem| stem.to_string_lossy().into_owned());
    let compiler = Compiler::new(Compiler::own_program(), own_cache());
    let source = Source { label, tenant: String::new(), digest: Digest::of(&bytes), bytes: bytes.into() };
    let plugin = Arc::new(compiler.plugin(&sandbox, source.clone(), true).await?);
    sandbox.verify(&plugin).await?;
    Ok(Admitted { sandbox, compiler, source, plugin })
}

/// The author's own cache, so that trying again does not mean compiling again; without a place for it, there is none.
fn own_cache() -> Option<Cache> {
    let folder = wasm_target::Machine::from_env().cache?.join("compiled");
    let key = fs::create_dir_all(&folder).ok().and_then(|()| secret_key::kept_in(&folder.join("key")).ok())?;
    Cache::open(&folder.join("plugins"), &key).ok()
}

impl Check {
    async fn run(self) -> Result<(), Failure> {
        let Admitted { plugin, source, .. } = admit(&self.file, &self.limits).await?;
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

impl Run {
    async fn run(self) -> Result<(), Failure> {
        let event = Arc::new(read_event(&self.event)?);
        let config = self.config.as_deref().map(read_json::<Box<RawValue>>).transpose()?;
        let config: Arc<str> = config.as_ref().map_or("null", |raw| raw.get()).into();
        let Admitted { sandbox, compiler, source, plugin } = admit(&self.file, &self.limits).await?;
        if let Err(failure) = sandbox.check_config(&plugin, config.clone()).await.result {
            return Err(format!("the config is refused: {failure}").into());
        }
        let call = sandbox.transform(&plugin, event.clone(), config.clone()).await;
        let result = show(&event, &call);
        for line in &call.logs.lines {
            println!("log      {:<5} {}", line.level.name(), line.message);
        }
        if call.logs.dropped > 0 {
            println!("log      … and {} lines more", call.logs.dropped);
        }
        println!("time     {} µs", call.duration.as_micros());
        println!("memory   {} bytes", call.memory_bytes);
        // A call that met its deadline has done as much as this machine let it.
        if call.duration < self.limits.plugin_deadline {
            let metered = compiler.metered(&source).await?;
            match sandbox.fuel(metered, event, config).await? {
                Some(fuel) => println!("fuel     {fuel}"),
                None => println!("fuel     more than can be counted"),
            }
        }
        result
    }
}

fn show(event: &Event, call: &Call<Outcome>) -> Result<(), Failure> {
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
            headers::check_all(&message.headers, "x-factorial-wh-challenge").map_err(|(_, detail)| detail)?;
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
    let bad = || format!("{}: occurred_at is not an instant as in RFC 3339", file.display());
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

impl Push {
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
        let request = (api_headers(&self.key, "application/wasm")?, bytes.into());
        let report = move |sent| shown.set_position(sent as u64);
        let client = Plain::new(PUSH_TIMEOUT);
        let (status, answer) = client.call(http::Method::PUT, url.as_str(), request, report).await?;
        bar.finish_and_clear();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match status {
            200 => println!("unchanged: this version is there already\n{answer}"),
            201 => println!("{answer}"),
            _ => return Err(format!("the upload was answered {status}: {}", detail(&answer)).into()),
        }
        Ok(())
    }
}

/// The headers of a call with a key.
pub(super) fn api_headers(key: &str, content_type: &'static str) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| "this is no API key")?;
    bearer.set_sensitive(true);
    headers.insert(AUTHORIZATION, bearer);
    Ok(headers)
}

/// The `detail` of a problem (RFC 9457), or the whole answer where it is none.
fn detail(answer: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(answer).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    detail.unwrap_or(answer).to_owned()
}
