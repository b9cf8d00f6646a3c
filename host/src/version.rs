//! The version of this build.

/// The first digits of the commit from which it was built, or `unknown`; see `build.rs`.
pub(crate) const COMMIT: &str = env!("POSTHASTE_BUILD_COMMIT");

/// Version and commit, as `posthaste --version` shows them.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("POSTHASTE_BUILD_COMMIT"), ")");
