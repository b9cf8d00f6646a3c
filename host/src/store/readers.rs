//! The connections that read beside the writer: one pool for each class of reads, so that none waits behind another class.

use std::time::Duration;

use super::damage::Damage;
use super::db::{ConnectionPool, DatabaseKind, QueryTarget};
use crate::shares::{LOG_READS, Part};

/// What a connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadClass {
    /// One small row, or a few, by a key: authentication, publishing and the readiness check wait for them.
    LookUps,
    /// What is large, or far apart, on behalf of a company: lists, counts, health, single deliveries.
    Log,
    /// What the engine and the commands need, at whose results no caller of the API waits.
    Background,
}

impl ReadClass {
    pub(super) const fn connections(self) -> u32 {
        match self {
            Self::LookUps | Self::Background => 2,
            Self::Log => LOG_READS,
        }
    }

    /// Time after which a statement is interrupted. Until then it keeps SQLite from emptying its write-ahead log, and
    /// PostgreSQL from removing old rows.
    pub(super) const fn time_limit(self) -> Duration {
        match self {
            Self::LookUps | Self::Log => Duration::from_secs(2),
            Self::Background => Duration::from_secs(10),
        }
    }
}

/// The pools.
pub(super) struct Readers {
    pub(super) look_ups: ConnectionPool,
    log: ConnectionPool,
    pub(super) background: ConnectionPool,
}

/// The connections that read the log, for the company whose turn it is, until this is dropped.
#[must_use = "the turn ends when it is dropped"]
pub(super) struct LogReader<'s> {
    connections: &'s ConnectionPool,
    _turn: Part,
}

impl LogReader<'_> {
    pub(super) fn kind(&self) -> DatabaseKind {
        self.connections.kind()
    }
}

impl<'r> From<&'r LogReader<'_>> for QueryTarget<'r> {
    fn from(reader: &'r LogReader<'_>) -> Self {
        reader.connections.into()
    }
}

impl Readers {
    /// Returns the pools that `pool` makes for the classes.
    pub(super) fn new(pool: impl Fn(ReadClass) -> ConnectionPool) -> Self {
        Self { look_ups: pool(ReadClass::LookUps), log: pool(ReadClass::Log), background: pool(ReadClass::Background) }
    }

    /// Returns the connections that read the log, for a part of [`Resource::LogReads`](crate::shares::Resource::LogReads): one
    /// statement at a time.
    pub(super) fn log(&self, turn: Part) -> LogReader<'_> {
        LogReader { connections: &self.log, _turn: turn }
    }

    pub(super) fn kind(&self) -> DatabaseKind {
        self.background.kind()
    }

    /// The note of damage that all connections of the process share.
    pub(super) fn damage(&self) -> &Damage {
        &self.background.damage
    }
}

#[cfg(test)]
mod tests;
