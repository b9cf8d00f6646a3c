//! Quotas: how much one company may keep in the database.

use super::company_limit::LimitUnit;

/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Webhooks.
    Webhooks,
    /// Plugins.
    Plugins,
    /// Versions of one plugin.
    PluginVersions,
    /// Bytes of all plugin versions, also of removed ones that wait for retention.
    PluginBytes,
    /// Bytes of the configs of webhooks, also of earlier ones that wait for retention; each counts 1 KiB more.
    ConfigBytes,
    /// Bytes of the data of stored events, about.
    EventBytes,
    /// Event types.
    EventTypes,
}

impl Quota {
    /// Every quota.
    pub const ALL: [Self; 7] = [
        Self::Webhooks,
        Self::Plugins,
        Self::PluginVersions,
        Self::PluginBytes,
        Self::ConfigBytes,
        Self::EventBytes,
        Self::EventTypes,
    ];

    /// Returns its name, in problems, in `GET /limits` and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Plugins => "plugins",
            Self::PluginVersions => "plugin-versions",
            Self::PluginBytes => "plugin-bytes",
            Self::ConfigBytes => "config-bytes",
            Self::EventBytes => "event-bytes",
            Self::EventTypes => "event-types",
        }
    }

    /// Returns the quota with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.name() == name)
    }

    /// Returns its unit.
    pub fn unit(self) -> LimitUnit {
        match self {
            Self::Webhooks | Self::Plugins | Self::PluginVersions | Self::EventTypes => LimitUnit::Count,
            Self::PluginBytes | Self::ConfigBytes | Self::EventBytes => LimitUnit::Bytes,
        }
    }
}

/// The quotas of a company for which nothing else is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// As [`Quota::Webhooks`].
    pub webhooks: u64,
    /// As [`Quota::Plugins`].
    pub plugins: u64,
    /// As [`Quota::PluginVersions`].
    pub plugin_versions: u64,
    /// As [`Quota::PluginBytes`].
    pub plugin_bytes: u64,
    /// As [`Quota::ConfigBytes`].
    pub config_bytes: u64,
    /// As [`Quota::EventBytes`].
    pub event_bytes: u64,
    /// As [`Quota::EventTypes`].
    pub event_types: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            webhooks: 1_000,
            plugins: 100,
            plugin_versions: 100,
            plugin_bytes: 1024 * MIB,
            config_bytes: 64 * MIB,
            event_bytes: 50 * 1024 * MIB,
            event_types: 1_000,
        }
    }
}

impl Quotas {
    /// Returns one of them, in its unit.
    pub fn of(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Webhooks => self.webhooks,
            Quota::Plugins => self.plugins,
            Quota::PluginVersions => self.plugin_versions,
            Quota::PluginBytes => self.plugin_bytes,
            Quota::ConfigBytes => self.config_bytes,
            Quota::EventBytes => self.event_bytes,
            Quota::EventTypes => self.event_types,
        }
    }
}

/// How much of a quota a company uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaUsage {
    /// The quota.
    pub quota: Quota,
    /// What is used, in its unit.
    pub used: u64,
    /// The most that the company may use.
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_found_by_their_names() {
        for quota in Quota::ALL {
            assert_eq!(Quota::named(quota.name()), Some(quota));
        }
        assert_eq!(Quota::named("attempts"), None);
    }
}
