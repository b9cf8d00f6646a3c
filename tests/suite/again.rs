//! Retries by hand, replays, cancelling, and the body that a delivery sent.

mod cancelling;
mod replaying;
mod retrying;
mod transformed;
