//! Divides the limit on open files (RLIMIT_NOFILE, getrlimit(2)) between everything that opens some.
//!
//! Every socket is an open file, and so is every part of the database. Without a bound for each use, one of them takes the
//! files of all others: a database that cannot open a file stores nothing.

/// Files of the process itself: the standard streams, the event loop, the listener, signals; certificates, keys, compiled code
/// and `/proc` while they are read.
const PROCESS: u64 = 32;
/// Files of the database. SQLite: nine connections, each with the database, its write-ahead log and a temporary file; the
/// index of that log, the lock and the reserve; a few more while the writer connects again. PostgreSQL: nine sockets.
const DATABASE: u64 = 48;
/// Files of the compiling processes: three pipes and a descriptor for each, and the other ends of the pipes while it starts.
const COMPILATIONS: u64 = 48;
/// Files that are kept back for these.
const KEPT_BACK: u64 = PROCESS + DATABASE + COMPILATIONS;
/// The smallest limit with which the service starts.
const MIN_LIMIT: u64 = 192;
/// The limit at which no use is restricted by the number of files.
const AMPLE_LIMIT: u64 = 65_536;

/// Most attempts in flight at once, over all webhooks. A hanging attempt holds about 35 KiB, most of it in the client.
const MAX_ATTEMPTS: u64 = 4_096;
/// Most attempts that connect over IPv6 and IPv4 at once.
const MAX_SECOND_SOCKETS: u64 = MAX_ATTEMPTS / 4;
/// Most idle connections.
const MAX_IDLE: u64 = 4_096;
/// Most lookups at once. Each holds a thread until the system's resolver returns, also after its attempt has ended.
const MAX_LOOKUPS: u64 = 128;
/// Files of one lookup: the socket to the server, and a file of the configuration or another socket.
const FILES_OF_A_LOOKUP: u64 = 2;
/// Most pings at once.
const MAX_PINGS: u64 = 64;
/// Most connections of callers at once. Further ones wait in the kernel's queue.
const MAX_CALLERS: u64 = 16_384;

/// The number of each use of open files that the limit allows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// Attempts in flight: a socket each.
    pub(crate) attempts: u64,
    /// Attempts that have a second socket while they connect (RFC 8305).
    pub(crate) second_sockets: u64,
    /// Idle connections to receivers: a socket each.
    pub(crate) idle: u64,
    /// Lookups of receivers' names: [`FILES_OF_A_LOOKUP`] each.
    pub(crate) lookups: u64,
    /// Pings: a socket each.
    pub(crate) pings: u64,
    /// Connections of the API's callers: a socket each.
    pub(crate) callers: u64,
}

impl OpenFiles {
    /// Divides the limit of this process.
    ///
    /// # Errors
    /// As [`OpenFiles::divide`].
    pub(crate) fn of_this_process() -> Result<Self, String> {
        Self::divide(rustix::process::getrlimit(rustix::process::Resource::Nofile).current)
    }

    /// Divides `limit` files; `None`: there is no limit.
    ///
    /// # Errors
    /// The limit is too low; the text says how to raise it.
    pub(crate) fn divide(limit: Option<u64>) -> Result<Self, String> {
        let limit = limit.unwrap_or(u64::MAX);
        if limit < MIN_LIMIT {
            return Err(format!(
                "the limit on open files is {limit}, and Posthaste needs {MIN_LIMIT}, better {AMPLE_LIMIT}; raise it, for \
                 example with `ulimit -n {AMPLE_LIMIT}`, `LimitNOFILE={AMPLE_LIMIT}` of systemd, or `ulimits` of a container"
            ));
        }
        let rest = limit - KEPT_BACK;
        let mut divided = Self {
            attempts: (rest / 4).min(MAX_ATTEMPTS),
            second_sockets: (rest / 16).min(MAX_SECOND_SOCKETS),
            idle: (rest / 8).min(MAX_IDLE),
            lookups: (rest / 32).min(MAX_LOOKUPS),
            pings: (rest / 32).min(MAX_PINGS),
            callers: 0,
        };
        divided.callers = (limit - divided.total()).min(MAX_CALLERS);
        Ok(divided)
    }

    /// Returns how many files all uses have open at most, those of the process itself included.
    fn total(&self) -> u64 {
        let Self { attempts, second_sockets, idle, lookups, pings, callers } = self;
        KEPT_BACK + attempts + second_sockets + idle + lookups * FILES_OF_A_LOOKUP + pings + callers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_uses_together_stay_within_the_limit_and_each_has_some() {
        for limit in (MIN_LIMIT..5_000).chain([20_000, 65_535, AMPLE_LIMIT, 1_048_576, u64::MAX]) {
            let files = OpenFiles::divide(Some(limit)).unwrap();
            assert!(files.total() <= limit, "{limit}: {files:?}");
            let OpenFiles { attempts, second_sockets, idle, lookups, pings, callers } = files;
            // Two of each at least: so one company cannot hold them all.
            for (use_of, least) in
                [(attempts, 16), (second_sockets, 2), (idle, 8), (lookups, 2), (pings, 2), (callers, 28)]
            {
                assert!(use_of >= least, "{limit}: {files:?}");
            }
        }
    }

    #[test]
    fn uses_grow_with_the_limit_up_to_their_own_bounds() {
        let divided = |limit| {
            let files = OpenFiles::divide(limit).unwrap();
            [files.attempts, files.second_sockets, files.idle, files.lookups, files.pings, files.callers]
        };
        assert_eq!(divided(Some(256)), [32, 8, 16, 4, 4, 60]);
        assert_eq!(divided(Some(1_024)), [224, 56, 112, 28, 28, 420]);
        assert_eq!(divided(Some(4_096)), [992, 248, 496, 124, 64, 1_920]);
        assert_eq!(divided(Some(20_000)), [4_096, 1_024, 2_484, 128, 64, 11_948]);
        let ample = [4_096, 1_024, 4_096, 128, 64, 16_384];
        assert_eq!((divided(Some(AMPLE_LIMIT)), divided(Some(1_048_576)), divided(None)), (ample, ample, ample));
    }

    #[test]
    fn limit_that_is_too_low_is_named_with_the_one_that_is_needed() {
        let error = OpenFiles::divide(Some(191)).unwrap_err();
        assert!(error.starts_with("the limit on open files is 191, and Posthaste needs 192, better 65536"), "{error}");
        assert!(OpenFiles::divide(Some(0)).is_err());
    }
}
