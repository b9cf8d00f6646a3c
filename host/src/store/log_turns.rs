//! Turns of companies at the connections that read the delivery log, so that one company's lists delay no other company's, and
//! none delays a look-up of a key or a webhook.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::error::StoreError;
use crate::domain::company_limit::CompanyLimit;

/// Requests of one company that read the log at once.
const PER_COMPANY: usize = 2;
/// Requests of one company that read the log or wait for it.
const MOST_PER_COMPANY: usize = 64;

/// The requests that read the log.
pub(super) struct LogTurns {
    /// First come, first served; a company has at most [`PER_COMPANY`] requests here.
    connections: Semaphore,
    companies: Mutex<HashMap<String, CompanyReads>>,
}

struct CompanyReads {
    turns: Arc<Semaphore>,
    /// Those that hold or await one of `turns`.
    requests: usize,
}

/// One request of a company, until it is dropped.
struct Request<'t> {
    all: &'t LogTurns,
    company: &'t str,
    turns: Arc<Semaphore>,
}

/// The right to read the log, until it is dropped. The fields are dropped in their order: the company's turn goes on to its
/// next request after the connection goes on to another company's.
#[must_use = "the turn ends when it is dropped"]
pub(super) struct LogTurn<'t> {
    _connection: SemaphorePermit<'t>,
    _turn: tokio::sync::OwnedSemaphorePermit,
    _request: Request<'t>,
}

impl LogTurns {
    /// Allows `connections` requests at once.
    pub(super) fn new(connections: usize) -> Self {
        Self { connections: Semaphore::new(connections), companies: Mutex::default() }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: too many requests of the company wait already.
    pub(super) async fn turn<'t>(&'t self, company: &'t str) -> Result<LogTurn<'t>, StoreError> {
        let request = self.enter(company)?;
        let closed = |_: AcquireError| StoreError::Closed;
        let turn = request.turns.clone().acquire_owned().await.map_err(closed)?;
        let connection = self.connections.acquire().await.map_err(closed)?;
        Ok(LogTurn { _connection: connection, _turn: turn, _request: request })
    }

    fn enter<'t>(&'t self, company: &'t str) -> Result<Request<'t>, StoreError> {
        let mut companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = companies
            .entry(company.to_owned())
            .or_insert_with(|| CompanyReads { turns: Arc::new(Semaphore::new(PER_COMPANY)), requests: 0 });
        if reads.requests == MOST_PER_COMPANY {
            let detail = format!(
                "{MOST_PER_COMPANY} requests of this company are reading its log already, which is the limit; ask again when one \
                 has been answered"
            );
            return Err(CompanyLimit::in_progress("log-reads", detail).into());
        }
        reads.requests += 1;
        Ok(Request { all: self, company, turns: reads.turns.clone() })
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let mut companies = self.all.companies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut reads) = companies.entry(self.company.to_owned()) {
            reads.get_mut().requests -= 1;
            if reads.get().requests == 0 {
                reads.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn company_with_many_requests_leaves_room_for_others() {
        let turns = LogTurns::new(3);
        let mut own: Vec<_> = (0..10).map(|_| Box::pin(turns.turn("acme"))).collect();
        let granted: Vec<_> = own.iter_mut().filter_map(|turn| turn.now_or_never()).map(Result::unwrap).collect();
        assert_eq!(granted.len(), PER_COMPANY);
        let other = turns.turn("other").now_or_never().expect("a connection is free for another company").unwrap();
        // All connections are taken now. The next to be free belongs to whoever waits, in order.
        let mut third = Box::pin(turns.turn("third"));
        assert!(third.as_mut().now_or_never().is_none());
        drop(granted);
        assert!(
            third.as_mut().now_or_never().is_some(),
            "it waits behind no request of the first company that has no turn"
        );
        drop(other);
    }

    #[test]
    fn too_many_requests_of_one_company_are_refused_and_those_that_end_make_room() {
        let turns = LogTurns::new(3);
        let mut own: Vec<_> = (0..MOST_PER_COMPANY).map(|_| Box::pin(turns.turn("acme"))).collect();
        let granted: Vec<_> = own.iter_mut().map(|turn| turn.now_or_never()).collect();
        let refused = turns.turn("acme").now_or_never().unwrap();
        assert!(matches!(refused, Err(StoreError::Limit(_))));
        assert!(turns.turn("other").now_or_never().unwrap().is_ok());
        drop((granted, own));
        assert!(turns.turn("acme").now_or_never().unwrap().is_ok());
        assert!(turns.companies.lock().unwrap().is_empty(), "nothing is kept of a company without requests");
    }
}
