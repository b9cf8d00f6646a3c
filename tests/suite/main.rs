//! The suite: every test speaks HTTP to a real host with a real receiver and a real database.

// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod again;
mod answers;
mod authors;
mod batches;
mod cases;
mod circles;
mod commands;
mod comparing;
mod compiling;
mod crash;
mod credentials;
mod delivering;
mod delivery_control;
mod disabling;
mod dry_runs;
mod earlier_log;
mod factorial;
mod fairness;
mod fan_out;
mod guard;
mod guide;
mod health;
mod hostile;
mod labels;
mod languages;
mod metrics;
mod moving;
mod nodes;
mod oauth;
mod operational_events;
mod ordering;
mod pacing;
mod patching;
mod pinging;
mod plugins;
mod problems;
mod publishing;
mod purity;
mod queries;
mod restoring;
mod rotating;
mod schedule;
mod secrets;
mod selections;
mod shares;
mod standard;
mod standard_transforms;
mod surviving;
mod targets;
mod timeouts;
mod verifying;
mod versions;
mod webhooks;
