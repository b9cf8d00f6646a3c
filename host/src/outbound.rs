//! Everything that leaves the house by HTTP: which addresses may be reached, the signature, the clients.
//! The only place that knows reqwest.

mod client;
mod dial;
mod fault;
mod guard;
mod plain;
mod port;
mod resolve;
pub mod sign;
mod special;
mod target;

pub use client::{MAX_ANSWER_BYTES, Outbound, Sent};
pub use guard::{Guard, Refused};
pub use plain::{MAX_PLAIN_ANSWER_BYTES, Plain};
pub use resolve::{Resolver, Resolving, SystemResolver};
pub use target::{MAX_URL_BYTES, Scheme, Target, Way};
