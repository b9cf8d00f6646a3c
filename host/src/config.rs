//! The settings of `posthaste serve`: flags, each also an environment variable `POSTHASTE_<FLAG>`.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use crate::domain::retry::Schedule;

/// The waits between attempts: twenty attempts in about two days, six of them in the first five minutes.
const SCHEDULE: &str = "5s,15s,40s,90s,120s,10m,20m,40m,1h,1h30m,2h,2h,3h,3h,4h,5h,6h,8h,11h";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the database is.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// The database: sqlite://FILE, created when missing, or postgres://USER:PASSWORD@HOST/DATABASE, which several nodes share
    #[arg(long, default_value = "sqlite://posthaste.db", value_name = "URL", hide_env_values = true)]
    pub database: String,
}

/// What a plugin call may use.
#[derive(Debug, Clone, Args)]
pub struct PluginLimits {
    /// Time that one plugin call may take
    #[arg(long, default_value = "100ms", value_parser = duration, value_name = "DURATION")]
    pub plugin_deadline: Duration,
    /// Linear memory that one plugin call may use
    #[arg(long, default_value = "64MiB", value_parser = size, value_name = "SIZE")]
    pub plugin_memory: usize,
    /// Largest plugin that may be uploaded
    #[arg(long, default_value = "33554432", value_parser = size, value_name = "SIZE")]
    pub max_plugin_bytes: usize,
}

/// The key that encrypts signing secrets.
#[derive(Clone, Args)]
pub struct SecretKey {
    /// The 32 bytes that encrypt signing secrets, in base64
    #[arg(long, value_name = "BASE64", hide_env_values = true, conflicts_with = "secret_key_file")]
    pub secret_key: Option<String>,
    /// A file with the same; without either, `posthaste.key` in the data directory, made at the first start
    #[arg(long, value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
}

/// Whose OAuth2 access tokens are accepted (RFC 9068).
#[derive(Debug, Clone, Default, Args)]
pub struct OAuth {
    /// Accept access tokens of this issuer; its keys are found by discovery
    #[arg(long, value_name = "URL")]
    pub oauth_issuer: Option<String>,
    /// Accept access tokens that a key of this JWK Set verifies; with --oauth-issuer too, `iss` has to be that
    /// issuer, without it `iss` is not checked
    #[arg(long, value_name = "URL|FILE")]
    pub oauth_jwks: Option<String>,
    /// What the `aud` of an access token has to contain; needed with either of these
    #[arg(long, value_name = "NAME")]
    pub oauth_audience: Option<String>,
}

/// Which targets may be reached, and how deliveries are attempted.
#[derive(Debug, Clone, Args)]
pub struct Delivering {
    /// Addresses that targets may have besides public ones, for example 127.0.0.0/8; repeatable
    #[arg(long, value_delimiter = ',', value_parser = network, value_name = "CIDR")]
    pub allow_target: Vec<IpNet>,
    /// Allow plain http:// to public addresses too
    #[arg(long)]
    pub allow_http: bool,
    /// The waits between attempts, comma-separated
    #[arg(long, default_value = SCHEDULE, value_parser = schedule, value_name = "DURATIONS")]
    pub retry_schedule: Schedule,
    /// Time that one attempt may take
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub attempt_timeout: Duration,
    /// After how long without a heartbeat a node is dead; by default 30 s, or the longest attempt and 15 s more
    #[arg(long, hide = true, value_parser = duration, value_name = "DURATION")]
    pub node_timeout: Option<Duration>,
    /// The header that carries a webhook's challenge
    #[arg(long, default_value = "x-factorial-wh-challenge", value_parser = header_name, value_name = "NAME")]
    pub challenge_header: String,
}

impl Delivering {
    /// After how long without a heartbeat a node is dead: long enough for an attempt to end in good time before.
    pub fn node_timeout(&self) -> Duration {
        let after_an_attempt = |seconds| self.attempt_timeout.saturating_add(Duration::from_secs(seconds));
        let default = Duration::from_secs(30).max(after_an_attempt(15));
        self.node_timeout.unwrap_or(default).max(after_an_attempt(2))
    }
}

/// Everything `posthaste serve` can be told.
#[derive(Clone, Args)]
pub struct Config {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: String,
    /// Where the secret key's file is kept
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Largest event that may be published
    #[arg(long, default_value = "262144", value_parser = size, value_name = "SIZE")]
    pub max_event_bytes: usize,
    /// How long events and their deliveries are kept
    #[arg(long, default_value = "30d", value_parser = duration, value_name = "DURATION")]
    pub retention: Duration,
    /// How log lines are written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: Database,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub plugins: PluginLimits,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub secret_key: SecretKey,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub oauth: OAuth,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub delivering: Delivering,
}

/// Reads `300ms`, `5s`, `1h30m`, `30d`.
///
/// # Errors
/// Says how durations are written.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration; write 300ms, 5s, 1h30m or 30d");
    let span: jiff::SignedDuration = match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) => jiff::SignedDuration::from_hours(i64::from(days) * 24),
        _ => text.parse().map_err(|_| bad())?,
    };
    Duration::try_from(span).map_err(|_| bad())
}

/// Reads a size in bytes or like `64MiB`.
///
/// # Errors
/// Says how sizes are written.
pub fn size(text: &str) -> Result<usize, String> {
    let bad = |_| format!("`{text}` is not a size; write bytes (262144) or a unit (64MiB)");
    let bytes: bytesize::ByteSize = text.parse().map_err(bad)?;
    usize::try_from(bytes.as_u64()).map_err(|_| format!("`{text}` is larger than this machine's memory can be"))
}

fn schedule(text: &str) -> Result<Schedule, String> {
    let waits = text.split(',').map(str::trim).filter(|wait| !wait.is_empty());
    Schedule::new(waits.map(duration).collect::<Result<_, _>>()?)
}

fn network(text: &str) -> Result<IpNet, String> {
    let single = text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or(single).map_err(|_| format!("`{text}` is not a network; write 127.0.0.0/8 or an address"))
}

fn header_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    crate::domain::headers::check(&name, "x", "")
        .or_else(|error| if name.starts_with("x-factorial-") { Ok(()) } else { Err(error) })?;
    Ok(name)
}

/// Reads a key of 32 bytes from its base64 text.
///
/// # Errors
/// Says how many bytes it has instead.
pub fn parse_secret_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|_| "the secret key is not base64; make one with `openssl rand -base64 32`")?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| format!("the secret key has {length} bytes; it needs 32: `openssl rand -base64 32`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_as_the_contract_writes_them() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86400)));
        for bad in ["", "5", "-5s", "soon", "5 lightyears", "99999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(size("262144"), Ok(262_144));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert!(size("big").is_err());
    }

    #[test]
    fn the_default_schedule_makes_twenty_attempts_in_two_days_six_of_them_in_five_minutes() {
        let schedule = schedule(SCHEDULE).unwrap();
        assert_eq!(schedule.attempts(), 20);
        let waits: Vec<_> = (1..20).map(|attempt| schedule.wait_after(attempt, 0.5).unwrap().as_secs()).collect();
        assert_eq!(waits[..5].iter().sum::<u64>(), 270);
        assert_eq!((waits.iter().sum::<u64>() + 1800) / 3600, 48);
    }
}
