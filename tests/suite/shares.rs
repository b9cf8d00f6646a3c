//! One company with an ordinary key, or a stranger without one, takes all that it can of a shared resource: a neighbour notices
//! nothing.

mod large_configs;
mod manual_retries;
mod open_files;
mod queue_memory;
mod reading;
mod removals;
