//! Outgoing HTTP: the guard against server-side request forgery, the signatures, and the clients.
//! The only room that uses reqwest.

mod bad_ports;
mod client;
mod dial;
mod fault;
mod guard;
mod guarded_resolver;
mod resolve;
pub mod sign;
mod special_purpose;
mod target;
mod unguarded;

pub use client::{MAX_ANSWER_BYTES, Outbound, PostResult};
pub use guard::{Guard, RefusedAddress};
pub use resolve::{ResolveFuture, Resolver, SystemResolver};
pub use target::{MAX_URL_BYTES, Scheme, Target, Transport};
pub use unguarded::{MAX_UNGUARDED_ANSWER_BYTES, UnguardedAnswer, UnguardedClient, UnguardedRequest};
