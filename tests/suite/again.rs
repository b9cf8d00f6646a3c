//! Sending again: one delivery now, many by a replay; and what a delivery sent.

mod replaying;
mod retrying;
mod transformed;
