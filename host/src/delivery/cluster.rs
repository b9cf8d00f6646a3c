//! This node among the others that serve the same database.

mod heartbeat;
mod invalidation;
mod last_run;
mod membership;

pub(super) use heartbeat::Heartbeat;
pub(super) use invalidation::Invalidation;
pub(super) use last_run::LastRun;
pub(super) use membership::Membership;
