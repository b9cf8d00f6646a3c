//! What waits for the writer, and whose turn it is.
//!
//! The operations of a company keep their order. Companies take turns, in each of which one may hand in [`TURN`] bytes, so that
//! an event waits for a few of another company, however many that has handed in. What the engine hands in, completions above
//! all, waits for no company: it ends what is under way.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::group::{MAX_OPERATIONS, PendingCompletions, WriteGroup};
use super::operation::{CompanyOperation, CompanyWork, TransactionWork, WriteOperation};
use crate::store::error::StoreError;

/// Bytes of companies after which a transaction takes no more of them. It bounds the time for which the next ones wait.
const GROUP_BYTES: u64 = 1 << 20;
/// Bytes that a company hands in during one turn.
const TURN: u64 = 32 << 10;
/// Operations that wait here at most; the others wait in the channel.
const MOST_WAITING: usize = 16_384;

/// The operations that wait.
#[derive(Default)]
pub(super) struct WaitingLine {
    pub(super) completions: PendingCompletions,
    transactions: VecDeque<TransactionWork>,
    /// Each waits for the operations of companies up to this number.
    barriers: VecDeque<(u64, TransactionWork)>,
    /// Those that have operations here.
    companies: HashMap<String, CompanyLine>,
    /// The companies in the order of their turns.
    turns: VecDeque<String>,
    /// The number of the last operation of a company.
    last: u64,
    /// The number of operations of companies.
    count: usize,
}

#[derive(Default)]
struct CompanyLine {
    /// Never empty between two calls.
    operations: VecDeque<(u64, CompanyOperation)>,
    /// Bytes that are left of its turns. At most a turn more than its largest operation.
    credit: u64,
}

impl WaitingLine {
    /// Adds an operation.
    pub(super) fn push(&mut self, operation: WriteOperation) {
        match operation {
            WriteOperation::Complete(completion, permit) => self.completions.push(*completion, permit),
            WriteOperation::Transaction(work) => self.transactions.push_back(work),
            WriteOperation::Barrier(work) => self.barriers.push_back((self.last, work)),
            WriteOperation::Company(operation) => {
                self.last += 1;
                self.count += 1;
                let company = operation.work.company();
                if !self.companies.contains_key(company) {
                    self.turns.push_back(company.to_owned());
                    self.companies.insert(company.to_owned(), CompanyLine::default());
                }
                if let Some(line) = self.companies.get_mut(operation.work.company()) {
                    line.operations.push_back((self.last, operation));
                }
            }
        }
    }

    /// Returns how many operations wait.
    pub(super) fn len(&self) -> usize {
        self.completions.len() + self.transactions.len() + self.barriers.len() + self.count
    }

    /// Returns whether a caller waits for an answer: nobody waits for completions.
    fn has_waiting_caller(&self) -> bool {
        self.len() > self.completions.len()
    }

    /// Takes in what waits in the channel. While there are only completions, it waits up to `linger` for more. Returns false if
    /// the channel is closed.
    #[must_use]
    pub(super) async fn gather(&mut self, receiver: &mut mpsc::Receiver<WriteOperation>, linger: Duration) -> bool {
        if self.len() == 0 {
            match receiver.recv().await {
                Some(operation) => self.push(operation),
                None => return false,
            }
        }
        let until = Instant::now() + linger;
        while self.len() < MOST_WAITING {
            match receiver.try_recv() {
                Ok(operation) => self.push(operation),
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
                Err(mpsc::error::TryRecvError::Empty)
                    if self.has_waiting_caller() || self.completions.fill_a_group() =>
                {
                    break;
                }
                Err(mpsc::error::TryRecvError::Empty) => match timeout_at(until, receiver.recv()).await {
                    Ok(Some(operation)) => self.push(operation),
                    Ok(None) => return false,
                    Err(_) => break,
                },
            }
        }
        true
    }

    /// Takes what shares the next transaction.
    pub(super) fn next_group(&mut self) -> WriteGroup {
        let mut group = WriteGroup { completions: self.completions.take_oldest(), ..WriteGroup::default() };
        let own = self.transactions.len().min(MAX_OPERATIONS);
        group.transactions.extend(self.transactions.drain(..own));
        let mut bytes = 0;
        while bytes < GROUP_BYTES
            && let Some(company) = self.turns.pop_front()
        {
            bytes += self.take_turn(&company, GROUP_BYTES - bytes, &mut group);
            if self.companies.contains_key(&company) {
                self.turns.push_back(company);
            }
        }
        let oldest =
            self.companies.values().filter_map(|line| line.operations.front()).map(|(number, _)| *number).min();
        while self.barriers.front().is_some_and(|(after, _)| oldest.is_none_or(|oldest| *after < oldest)) {
            group.transactions.extend(self.barriers.pop_front().map(|(_, work)| work));
        }
        group
    }

    /// Gives a company its turn, which ends when it has handed in more than `room`. Returns how much it handed in.
    fn take_turn(&mut self, company: &str, room: u64, group: &mut WriteGroup) -> u64 {
        let Some(line) = self.companies.get_mut(company) else { return 0 };
        line.credit += TURN;
        let mut taken = 0;
        while taken < room
            && let Some((_, operation)) = line.operations.pop_front_if(|(_, first)| first.bytes() <= line.credit)
        {
            line.credit -= operation.bytes();
            taken += operation.bytes();
            self.count -= 1;
            group.push(operation);
        }
        if line.operations.is_empty() {
            self.companies.remove(company);
        }
        taken
    }

    /// Refuses everything for whose answer somebody waits. Completions stay.
    pub(super) fn refuse_callers(&mut self, error: &dyn Fn() -> StoreError) {
        let rest = Self { completions: std::mem::take(&mut self.completions), last: self.last, ..Self::default() };
        let refused = std::mem::replace(self, rest);
        for (_, operation) in refused.companies.into_values().flat_map(|line| line.operations) {
            // Dropping a transaction closes the channel on which its caller waits.
            if let CompanyWork::Publish(publish) = operation.work {
                (publish.done)(Err(error()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
