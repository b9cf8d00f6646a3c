//! The only room that knows reqwest: which addresses may be reached, signing, and the POST itself.

mod client;
mod failure;
mod guard;
pub mod sign;
mod upload;

pub use client::{Outbound, Sent};
pub use guard::{Guard, Target};
pub use upload::{Plain, Reply};
