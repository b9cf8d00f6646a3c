//! The command `posthaste`.

fn main() {}
