//! The settings of `posthaste serve`: command-line flags, each with an environment variable `POSTHASTE_<FLAG>`.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use crate::domain::author::{AUTHOR_ID_HEADER, AUTHOR_TYPE_HEADER};
use crate::domain::company_limit::LimitUnit;
use crate::domain::quota::Quotas;
use crate::domain::retry::Schedule;
pub use crate::domain::time::duration;
use crate::shares::Resource;

/// The default waits between attempts: twenty attempts in about two days, six of them in the first five minutes.
const SCHEDULE: &str = "5s,15s,40s,90s,120s,10m,20m,40m,1h,1h30m,2h,2h,3h,3h,4h,5h,6h,8h,11h";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable text
    Text,
    /// One JSON object per line
    Json,
}

/// The location of the database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseSettings {
    /// Database: sqlite://FILE, created if missing, or postgres://USER:PASSWORD@HOST/DATABASE, which several nodes can share
    #[arg(long, default_value = "sqlite://posthaste.db", value_name = "URL", hide_env_values = true)]
    pub database: String,
}

/// The limits of plugins and their calls.
#[derive(Debug, Clone, Args)]
pub struct PluginLimits {
    /// Time limit of one plugin call
    #[arg(long, default_value = "100ms", value_parser = duration, value_name = "DURATION")]
    pub plugin_deadline: Duration,
    /// Limit on the linear memory of one plugin call
    #[arg(long, default_value = "64MiB", value_parser = size, value_name = "SIZE")]
    pub plugin_memory: usize,
    /// Maximum size of an uploaded plugin
    #[arg(long, default_value = "33554432", value_parser = size, value_name = "SIZE")]
    pub max_plugin_bytes: usize,
}

/// How much one company may keep in the database, unless an operator sets something else for it.
#[derive(Debug, Clone, Copy, Args)]
pub struct QuotaSettings {
    /// Webhooks of one company
    #[arg(long, default_value = "1000", value_name = "NUMBER")]
    pub quota_webhooks: u64,
    /// Plugins of one company
    #[arg(long, default_value = "100", value_name = "NUMBER")]
    pub quota_plugins: u64,
    /// Versions of one plugin
    #[arg(long, default_value = "100", value_name = "NUMBER")]
    pub quota_plugin_versions: u64,
    /// Bytes of one company's plugins, with removed versions that wait for retention
    #[arg(long, default_value = "1GiB", value_parser = size, value_name = "SIZE")]
    pub quota_plugin_bytes: usize,
    /// Bytes of one company's configs, with earlier ones that wait for retention; each counts 1 KiB more
    #[arg(long, default_value = "64MiB", value_parser = size, value_name = "SIZE")]
    pub quota_config_bytes: usize,
    /// Bytes of one company's stored events, about: those that it publishes within seconds may go beyond
    #[arg(long, default_value = "50GiB", value_parser = size, value_name = "SIZE")]
    pub quota_event_bytes: usize,
    /// Event types of one company that are described
    #[arg(long, default_value = "1000", value_name = "NUMBER")]
    pub quota_event_types: u64,
}

impl From<QuotaSettings> for Quotas {
    fn from(settings: QuotaSettings) -> Self {
        Self {
            webhooks: settings.quota_webhooks,
            plugins: settings.quota_plugins,
            plugin_versions: settings.quota_plugin_versions,
            plugin_bytes: settings.quota_plugin_bytes as u64,
            config_bytes: settings.quota_config_bytes as u64,
            event_bytes: settings.quota_event_bytes as u64,
            event_types: settings.quota_event_types,
        }
    }
}

/// The key that encrypts signing secrets.
#[derive(Clone, Args)]
pub struct SecretKeySettings {
    /// Key that encrypts signing secrets: 32 bytes in base64
    #[arg(long, value_name = "BASE64", hide_env_values = true, conflicts_with = "secret_key_file")]
    pub secret_key: Option<String>,
    /// File with this key. Without either flag: `posthaste.key` in the data directory, generated at the first start
    #[arg(long, value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
}

/// The accepted OAuth2 access tokens (RFC 9068).
#[derive(Debug, Clone, Default, Args)]
pub struct OAuthSettings {
    /// Accept access tokens of this issuer; its keys are found by discovery
    #[arg(long, value_name = "URL")]
    pub oauth_issuer: Option<String>,
    /// Accept access tokens that a key of this JWK Set verifies. Together with --oauth-issuer, `iss` must be that
    /// issuer; otherwise `iss` is not checked
    #[arg(long, value_name = "URL|FILE")]
    pub oauth_jwks: Option<String>,
    /// Name that the `aud` of an access token must contain; required with --oauth-issuer or --oauth-jwks
    #[arg(long, value_name = "NAME")]
    pub oauth_audience: Option<String>,
}

/// The allowed targets, and the schedule and limits of attempts.
#[derive(Debug, Clone, Args)]
pub struct DeliverySettings {
    /// Allow targets with these addresses besides public ones, for example 127.0.0.0/8; repeatable
    #[arg(long, value_delimiter = ',', value_parser = network, value_name = "CIDR")]
    pub allow_target: Vec<IpNet>,
    /// Allow http:// to public addresses too
    #[arg(long)]
    pub allow_http: bool,
    /// Waits between the attempts of a delivery, comma-separated
    #[arg(long, default_value = SCHEDULE, value_parser = schedule, value_name = "DURATIONS")]
    pub retry_schedule: Schedule,
    /// Time limit of one attempt, unless the webhook sets another
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub attempt_timeout: Duration,
    /// Age at which a connection to a receiver is not used again, so that a receiver whose DNS name moves is followed
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub connection_max_age: Duration,
    /// PEM file with certificates to trust besides those of the system, as the receivers' authorities or as their own;
    /// repeatable, read again when it changes
    #[arg(long, value_delimiter = ',', value_name = "FILE")]
    pub tls_ca: Vec<PathBuf>,
    /// Time without a heartbeat after which a node counts as dead; the default is 30 s, or the attempt timeout plus 15 s
    /// if that is longer
    #[arg(long, hide = true, value_parser = duration, value_name = "DURATION")]
    pub node_timeout: Option<Duration>,
    /// Header that carries a webhook's challenge
    #[arg(long, default_value = "x-factorial-wh-challenge", value_parser = header_name, value_name = "NAME")]
    pub challenge_header: String,
}

impl DeliverySettings {
    /// Returns the time without a heartbeat after which a node counts as dead: always longer than an attempt, so that the
    /// node's attempts have ended by then. Attempts of webhooks with a longer timeout are ended.
    pub fn node_timeout(&self) -> Duration {
        let after_an_attempt = |seconds| self.attempt_timeout.saturating_add(Duration::from_secs(seconds));
        let default = Duration::from_secs(30).max(after_an_attempt(15));
        self.node_timeout.unwrap_or(default).max(after_an_attempt(2))
    }
}

/// The settings of `posthaste serve`.
#[derive(Clone, Args)]
pub struct Config {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: String,
    /// Directory of the secret key file and the compiled plugins
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Most connections of one client address (for IPv6, of one /64); the default is its share: half of all if no other
    /// client has any. For a reverse proxy, through which all clients have one address
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "NUMBER")]
    pub max_connections_per_address: Option<u64>,
    /// Total of a resource that companies share, for example request-bytes=64MiB or heavy-calls=32; repeatable. The
    /// resources are listed in docs/operations.md and in the metric posthaste_share_limit
    #[arg(long, value_delimiter = ',', value_parser = share_total, value_name = "RESOURCE=TOTAL")]
    pub share: Vec<ShareTotal>,
    /// Maximum size of a published event
    #[arg(long, default_value = "262144", value_parser = size, value_name = "SIZE")]
    pub max_event_bytes: usize,
    /// Time after which events and their deliveries are removed
    #[arg(long, default_value = "30d", value_parser = duration, value_name = "DURATION")]
    pub retention: Duration,
    /// Format of log lines
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: DatabaseSettings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub plugins: PluginLimits,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub quotas: QuotaSettings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub secret_key: SecretKeySettings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub oauth: OAuthSettings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub delivering: DeliverySettings,
}

/// Parses a size in bytes, or with a unit such as `64MiB`.
///
/// # Errors
/// The text describes the format of sizes.
pub fn size(text: &str) -> Result<usize, String> {
    let bad = |_| format!("`{text}` is not a size; write bytes (262144) or a unit (64MiB)");
    let bytes: bytesize::ByteSize = text.parse().map_err(bad)?;
    usize::try_from(bytes.as_u64()).map_err(|_| format!("`{text}` is larger than this machine can address"))
}

/// The least total of a resource in bytes.
const LEAST_SHARED_BYTES: u64 = 1 << 20;

/// A total that the operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareTotal {
    /// The resource.
    pub resource: Resource,
    /// Its total, in its unit.
    pub total: u64,
}

fn share_total(text: &str) -> Result<ShareTotal, String> {
    let (name, total) = text.split_once('=').ok_or("write the resource and its total, such as request-bytes=64MiB")?;
    let resource = Resource::named(name).ok_or_else(|| {
        let names = Resource::ALL.map(|resource| resource.info().name).join(", ");
        format!("`{name}` is not a shared resource; there are {names}")
    })?;
    let total = match resource.info().unit {
        LimitUnit::Bytes => size(total)? as u64,
        LimitUnit::Count => total.parse().map_err(|_| format!("`{total}` is not a whole number"))?,
    };
    match resource.info().unit {
        LimitUnit::Bytes if total < LEAST_SHARED_BYTES => Err(format!("the total of `{name}` is at least 1MiB")),
        LimitUnit::Count if total == 0 => Err(format!("the total of `{name}` is at least 1")),
        LimitUnit::Bytes | LimitUnit::Count => Ok(ShareTotal { resource, total }),
    }
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
    if [AUTHOR_ID_HEADER, AUTHOR_TYPE_HEADER].contains(&name.as_str()) {
        return Err(format!("the header `{name}` carries the author of an event; choose another name"));
    }
    crate::domain::headers::check(&name, "x", "")
        .or_else(|error| if name.starts_with("x-factorial-") { Ok(()) } else { Err(error) })?;
    Ok(name)
}

/// Parses a key of 32 bytes in base64.
///
/// # Errors
/// The text is not base64, or has another length, which the error names.
pub fn parse_secret_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|_| "the secret key is not base64; generate one with `openssl rand -base64 32`")?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| {
        format!("the secret key has {length} bytes; it must have 32: generate one with `openssl rand -base64 32`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_parsed() {
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
    fn totals_of_shared_resources_are_parsed_in_their_unit() {
        let parsed = |resource, total| Ok(ShareTotal { resource, total });
        assert_eq!(share_total("request-bytes=64MiB"), parsed(Resource::RequestBytes, 64 << 20));
        assert_eq!(share_total("heavy-calls=32"), parsed(Resource::HeavyCalls, 32));
        for (bad, text) in [
            ("request-bytes", "request-bytes=64MiB"),
            ("memory=1", "there are client-connections, "),
            ("request-bytes=1", "at least 1MiB"),
            ("heavy-calls=0", "at least 1"),
            ("heavy-calls=64MiB", "not a whole number"),
            ("heavy-calls=-1", "not a whole number"),
        ] {
            let error = share_total(bad).unwrap_err();
            assert!(error.contains(text), "{bad}: {error}");
        }
    }

    #[test]
    fn flags_have_the_default_quotas() {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            quotas: QuotaSettings,
        }
        let flags = <Flags as clap::Parser>::parse_from(["posthaste"]);
        assert_eq!(Quotas::from(flags.quotas), Quotas::default());
    }

    fn delivering(attempt: u64, node: Option<u64>) -> DeliverySettings {
        DeliverySettings {
            allow_target: Vec::new(),
            allow_http: false,
            retry_schedule: schedule(SCHEDULE).unwrap(),
            attempt_timeout: Duration::from_secs(attempt),
            connection_max_age: Duration::from_secs(60),
            tls_ca: Vec::new(),
            node_timeout: node.map(Duration::from_secs),
            challenge_header: String::new(),
        }
    }

    #[test]
    fn a_node_counts_as_dead_only_after_its_attempts_must_have_ended() {
        for (attempt, node, expected) in
            [(1, None, 30), (15, None, 30), (16, None, 31), (60, None, 75), (15, Some(60), 60), (15, Some(1), 17)]
        {
            let timeout = delivering(attempt, node).node_timeout();
            assert_eq!(timeout, Duration::from_secs(expected), "{attempt} {node:?}");
        }
    }

    #[test]
    fn networks_and_header_names_are_parsed() {
        assert_eq!(network("127.0.0.0/8").map(|net| net.to_string()), Ok("127.0.0.0/8".into()));
        assert_eq!(network("10.1.2.3").map(|net| net.to_string()), Ok("10.1.2.3/32".into()));
        assert!(network("localhost").unwrap_err().contains("not a network"));
        assert_eq!(header_name("X-Factorial-Wh-Challenge"), Ok("x-factorial-wh-challenge".into()));
        assert_eq!(header_name("X-Challenge"), Ok("x-challenge".into()));
        assert!(header_name("X-Factorial-Author-Id").is_err() && header_name("x-factorial-author-type").is_err());
        assert!(header_name("host").is_err() && header_name("webhook-id").is_err() && header_name("a b").is_err());
    }

    #[test]
    fn a_secret_key_has_32_bytes_of_base64() {
        assert_eq!(parse_secret_key(&format!(" {}\n", STANDARD.encode([7; 32]))), Ok([7; 32]));
        assert!(parse_secret_key(&STANDARD.encode([7; 31])).unwrap_err().contains("has 31 bytes"));
        assert!(parse_secret_key("%").unwrap_err().contains("not base64"));
    }

    #[test]
    fn the_default_schedule_has_twenty_attempts_in_two_days_and_six_in_five_minutes() {
        let schedule = schedule(SCHEDULE).unwrap();
        assert_eq!(schedule.attempts(), 20);
        let waits: Vec<_> = (1..20).map(|attempt| schedule.wait_after(attempt, 0.5).unwrap().as_secs()).collect();
        assert_eq!(waits[..5].iter().sum::<u64>(), 270);
        assert_eq!((waits.iter().sum::<u64>() + 1800) / 3600, 48);
    }
}
