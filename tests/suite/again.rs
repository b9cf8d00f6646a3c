//! Retries by hand, replays, and the body that a delivery sent.

mod replaying;
mod retrying;
mod transformed;
