//! Limits of one company, apart from the bounds of the whole process.

use std::time::Duration;

/// The unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitUnit {
    /// Bytes, of memory or of the database.
    Bytes,
    /// Things: webhooks, connections, calls.
    Count,
}

impl LimitUnit {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Count => "count",
        }
    }
}

/// A limit that a company has reached, so that its request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CompanyLimit {
    /// The limit's name, for programs.
    pub name: &'static str,
    /// The limit, and what makes room.
    pub detail: String,
    /// When the same request may succeed, at the earliest.
    pub retry_after: Duration,
}

impl CompanyLimit {
    /// A limit of work in progress, which ends by itself.
    pub fn in_progress(name: &'static str, detail: String) -> Self {
        Self { name, detail, retry_after: Duration::from_secs(1) }
    }

    /// A limit of requests that go on in the background: `name` is the word for several of them, `most` the limit.
    pub fn under_way(name: &'static str, most: i64) -> Self {
        let detail =
            format!("this company has {most} {name} under way, which is the limit; wait until one has finished");
        Self::in_progress(name, detail)
    }

    /// A limit of stored objects: the company has to remove some, or wait for retention.
    pub fn stored(name: &'static str, detail: String) -> Self {
        Self { name, detail, retry_after: Duration::from_secs(60) }
    }
}
