//! Outgoing HTTP: the guard against server-side request forgery, the signatures, and the clients.
//! The only room that uses reqwest, and hyper as a client.

mod bad_ports;
mod client;
mod connect;
mod fault;
mod guard;
mod idle;
mod lookups;
mod resolve;
pub mod sign;
mod special_purpose;
mod target;
mod tls;
mod unguarded;

pub use client::{MAX_ANSWER_BYTES, Outbound, OutboundOptions, PostRequest, PostResult};
pub use guard::{Guard, RefusedAddress};
pub use resolve::{ResolveFuture, Resolver, SystemResolver};
pub use target::{MAX_URL_BYTES, Scheme, Target, Transport};
pub use tls::{Trust, check_ca};
pub use unguarded::{MAX_UNGUARDED_ANSWER_BYTES, UnguardedAnswer, UnguardedClient, UnguardedRequest};
