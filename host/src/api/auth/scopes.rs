//! The scopes that calls need, one zero-sized type for each combination.

use std::fmt;

use crate::domain::credential::{Access, Area};

/// One scope that a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct RequiredScope {
    pub(super) area: Area,
    pub(super) access: Access,
}

impl RequiredScope {
    const fn read(area: Area) -> Self {
        Self { area, access: Access::Read }
    }

    const fn write(area: Area) -> Self {
        Self { area, access: Access::Write }
    }
}

impl fmt::Display for RequiredScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.access == Access::Read { ":read" } else { "" };
        write!(f, "{}{suffix}", self.area.name())
    }
}

/// The scopes that a call needs. The company is checked after the first of them and before the others.
pub(in crate::api) trait ScopeSet {
    const FIRST: RequiredScope;
    const FURTHER: &'static [RequiredScope] = &[];
    /// Whether the credential of a company is refused, whatever its scopes.
    const PLATFORM_ONLY: bool = false;
}

/// Looking at webhooks.
pub(in crate::api) enum WebhooksRead {}
/// Changing webhooks.
pub(in crate::api) enum WebhooksWrite {}
/// Looking at plugins.
pub(in crate::api) enum PluginsRead {}
/// Changing plugins.
pub(in crate::api) enum PluginsWrite {}
/// Looking at events.
pub(in crate::api) enum EventsRead {}
/// Publishing events, and changing what concerns them.
pub(in crate::api) enum EventsWrite {}
/// Looking at deliveries.
pub(in crate::api) enum DeliveriesRead {}
/// Changing deliveries.
pub(in crate::api) enum DeliveriesWrite {}
/// Comparing plugin versions: the answer shows events, so it needs to read the deliveries too.
pub(in crate::api) enum PluginComparison {}

/// Looking at what concerns the installation.
pub(in crate::api) enum AdminRead {}
/// Changing what concerns all webhooks of a company.
pub(in crate::api) enum AdminWrite {}
/// Changing what concerns the installation, for the operator alone.
pub(in crate::api) enum PlatformAdmin {}

impl ScopeSet for WebhooksRead {
    const FIRST: RequiredScope = RequiredScope::read(Area::Webhooks);
}

impl ScopeSet for WebhooksWrite {
    const FIRST: RequiredScope = RequiredScope::write(Area::Webhooks);
}

impl ScopeSet for PluginsRead {
    const FIRST: RequiredScope = RequiredScope::read(Area::Plugins);
}

impl ScopeSet for PluginsWrite {
    const FIRST: RequiredScope = RequiredScope::write(Area::Plugins);
}

impl ScopeSet for EventsRead {
    const FIRST: RequiredScope = RequiredScope::read(Area::Events);
}

impl ScopeSet for EventsWrite {
    const FIRST: RequiredScope = RequiredScope::write(Area::Events);
}

impl ScopeSet for DeliveriesRead {
    const FIRST: RequiredScope = RequiredScope::read(Area::Deliveries);
}

impl ScopeSet for DeliveriesWrite {
    const FIRST: RequiredScope = RequiredScope::write(Area::Deliveries);
}

impl ScopeSet for PluginComparison {
    const FIRST: RequiredScope = RequiredScope::read(Area::Plugins);
    const FURTHER: &'static [RequiredScope] = &[RequiredScope::read(Area::Deliveries)];
}

impl ScopeSet for AdminRead {
    const FIRST: RequiredScope = RequiredScope::read(Area::Admin);
}

impl ScopeSet for AdminWrite {
    const FIRST: RequiredScope = RequiredScope::write(Area::Admin);
}

impl ScopeSet for PlatformAdmin {
    const FIRST: RequiredScope = RequiredScope::write(Area::Admin);
    const PLATFORM_ONLY: bool = true;
}
