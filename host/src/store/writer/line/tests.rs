//! The line and the groups, without a database.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::operation::{CommitCallback, Publish};
use super::*;
use crate::domain::delivery::Status;
use crate::domain::event::Event;
use crate::metrics::Metrics;
use crate::shares::{Part, Resource, Share, ShareTotals, Shares};
use crate::store::delivery_rows::{DeliveryUpdate, NewEventRow};

/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);

fn completion(number: usize) -> DeliveryUpdate {
    DeliveryUpdate {
        company: "acme".into(),
        id: number.to_string(),
        lease: None,
        status: Status::Delivered,
        attempt_base: 0,
        attempt_count: 1,
        due: None,
        finished_at: Some(1),
        attempt: None,
    }
}

fn permit(permits: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    permits.clone().try_acquire_owned().unwrap()
}

fn pending(permits: &Arc<Semaphore>, numbers: std::ops::Range<usize>) -> PendingCompletions {
    let mut pending = PendingCompletions::default();
    for number in numbers {
        pending.push(completion(number), permit(permits));
    }
    pending
}

fn ids(completions: &[DeliveryUpdate]) -> Vec<usize> {
    completions.iter().map(|completion| completion.id.parse().unwrap()).collect()
}

fn range(numbers: std::ops::Range<usize>) -> Vec<usize> {
    numbers.collect()
}

type Answers = Arc<Mutex<Vec<String>>>;

fn memory() -> Arc<Share> {
    let totals = ShareTotals { client_connections: 1, idle_connections: 1, dns_lookups: 1, pings: 1 };
    Shares::new(totals, &Metrics::new(0, [])).of(Resource::WriterBytes).clone()
}

/// Returns a part of any size: each has a holder of its own, which is the number of parts.
fn part(memory: &Arc<Share>, bytes: u64) -> Part {
    let mut part = memory.try_take(&Arc::strong_count(memory).to_string(), 0).unwrap();
    part.hold(bytes);
    part
}

/// An event of a company, whose id is `id`.
fn event_of(company: &str, id: &str, part: Part, answers: &Answers) -> WriteOperation {
    let event = Event {
        id: id.into(),
        event_type: "t".into(),
        company: company.into(),
        occurred_at: 0,
        headers: Vec::new(),
        data: Bytes::from_static(b"{}"),
    };
    let row = NewEventRow { place: id.into(), event: Arc::new(event), deliveries: Vec::new(), created_at: 0 };
    let answers = answers.clone();
    let done = Box::new(move |answer: Result<_, StoreError>| {
        answers
            .lock()
            .unwrap()
            .push(answer.map_or_else(|error| error.to_string(), |published| format!("{published:?}")));
    });
    WriteOperation::Company(CompanyOperation { work: CompanyWork::Publish(Publish { row, done }), part })
}

fn publish(answers: &Answers) -> WriteOperation {
    event_of("acme", "e", part(&memory(), 1), answers)
}

/// Returns the line in which these wait: the company, the number of its events, and the bytes of each.
fn waiting(events: &[(&str, usize, u64)]) -> WaitingLine {
    let (memory, mut line) = (memory(), WaitingLine::default());
    for (company, count, bytes) in events {
        for number in 0..*count {
            let part = part(&memory, *bytes);
            line.push(event_of(company, &number.to_string(), part, &Answers::default()));
        }
    }
    line
}

/// Returns the numbers of a company's events in a group.
fn numbers(group: &WriteGroup, company: &str) -> Vec<usize> {
    let own = group.publishes.iter().filter(|publish| publish.row.event.company == company);
    own.map(|publish| publish.row.place.parse().unwrap()).collect()
}

fn transaction_work() -> WriteOperation {
    WriteOperation::Transaction(Box::new(|_| Box::pin(async { Ok(Box::new(|_| ()) as CommitCallback) })))
}

#[test]
fn oldest_completions_are_taken_with_their_permits_up_to_the_size_of_a_group() {
    let permits = Arc::new(Semaphore::new(600));
    let mut all = pending(&permits, 0..600);
    let oldest = all.take_oldest();
    assert_eq!(ids(&oldest.completions), range(0..512));
    assert_eq!(ids(&all.completions), range(512..600));
    assert_eq!(permits.available_permits(), 0);
    drop(oldest);
    assert_eq!(permits.available_permits(), 512, "each written completion makes room for another");
    let rest = all.take_oldest();
    assert_eq!(ids(&rest.completions), range(512..600));
    assert!(all.completions.is_empty() && all.take_oldest().completions.is_empty());
    drop(rest);
    assert_eq!(permits.available_permits(), 600);
}

#[test]
fn completions_that_are_put_back_precede_later_ones() {
    let permits = Arc::new(Semaphore::new(10));
    let mut all = pending(&permits, 0..3);
    let oldest = all.take_oldest();
    for number in 3..5 {
        all.push(completion(number), permit(&permits));
    }
    all.put_back(oldest);
    assert_eq!(ids(&all.completions), range(0..5));
    assert_eq!(permits.available_permits(), 5);
    all.put_back(PendingCompletions::default());
    assert_eq!(ids(&all.completions), range(0..5));
    let oldest = all.take_oldest();
    all.put_back(oldest);
    assert_eq!(permits.available_permits(), 5, "no permit is lost or freed");
    drop(all);
    assert_eq!(permits.available_permits(), 10);
}

#[test]
fn refused_events_are_answered_and_leave_the_line() {
    let (answers, permits, mut line) = (Answers::default(), Arc::new(Semaphore::new(9)), WaitingLine::default());
    for operation in [publish(&answers), transaction_work(), publish(&answers)] {
        line.push(operation);
    }
    line.push(WriteOperation::Complete(Box::new(completion(0)), permit(&permits)));
    line.refuse_callers(&|| StoreError::Full);
    assert_eq!(*answers.lock().unwrap(), ["the disk is full", "the disk is full"]);
    assert_eq!((line.len(), line.completions.len()), (1, 1), "completions stay");
    line.push(publish(&answers));
    assert_eq!(line.next_group().len(), 2);
}

#[test]
fn event_waits_for_a_few_of_a_company_that_has_handed_in_many() {
    let mut line = waiting(&[("many", 1_000, 256 << 10), ("one", 1, 10 << 10)]);
    let group = line.next_group();
    assert_eq!((numbers(&group, "one"), numbers(&group, "many")), (range(0..1), range(0..4)));
    let group = line.next_group();
    assert_eq!(numbers(&group, "many"), range(4..8), "in their order");
}

#[test]
fn companies_share_a_group_by_bytes() {
    let mut line = waiting(&[("large", 100, 256 << 10), ("small", 1_000, 8 << 10)]);
    let group = line.next_group();
    assert_eq!((numbers(&group, "large").len(), numbers(&group, "small").len()), (2, 64));
    // However few events a group has, every company has its turn.
    let companies: Vec<_> = (0..100).map(|number| format!("c{number}")).collect();
    let events: Vec<_> = companies.iter().map(|company| (company.as_str(), 3, GROUP_BYTES)).collect();
    let mut line = waiting(&events);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        let group = line.next_group();
        assert_eq!(group.publishes.len(), 1, "an event larger than a group has one of its own");
        seen.insert(group.publishes[0].row.event.company.clone());
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn company_that_has_waited_brings_no_credit_along() {
    let mut line = waiting(&[("a", 1, 1)]);
    assert_eq!(numbers(&line.next_group(), "a"), [0]);
    assert!(line.companies.is_empty() && line.turns.is_empty(), "nothing is kept of a company without operations");
    assert_eq!((line.len(), line.next_group().len()), (0, 0));
}

#[test]
fn operations_of_a_company_keep_their_order_and_those_of_the_engine_wait_for_none() {
    let (memory, answers, mut line) = (memory(), Answers::default(), WaitingLine::default());
    for number in 0..20 {
        line.push(event_of("a", &number.to_string(), part(&memory, 256 << 10), &answers));
    }
    let WriteOperation::Transaction(work) = transaction_work() else { unreachable!() };
    let work = CompanyWork::Transaction("a".into(), work);
    line.push(WriteOperation::Company(CompanyOperation { work, part: part(&memory, 1) }));
    line.push(transaction_work());
    let first = line.next_group();
    assert_eq!((first.publishes.len(), first.transactions.len()), (4, 1), "the engine's");
    let rest: Vec<_> =
        (0..5).map(|_| line.next_group()).map(|group| (group.publishes.len(), group.transactions.len())).collect();
    assert_eq!(rest, [(4, 0), (4, 0), (4, 0), (4, 0), (0, 1)]);
}

#[test]
fn barrier_follows_everything_that_was_handed_in_before() {
    let (memory, answers, mut line) = (memory(), Answers::default(), WaitingLine::default());
    let WriteOperation::Transaction(work) = transaction_work() else { unreachable!() };
    for number in 0..8 {
        line.push(event_of("a", &number.to_string(), part(&memory, 256 << 10), &answers));
    }
    line.push(WriteOperation::Barrier(work));
    line.push(event_of("b", "0", part(&memory, 256 << 10), &answers));
    let groups: Vec<_> =
        (0..3).map(|_| line.next_group()).map(|group| (group.publishes.len(), group.transactions.len())).collect();
    assert_eq!(groups, [(4, 0), (4, 0), (1, 1)]);
    assert_eq!(line.len(), 0);
}

#[tokio::test]
async fn group_takes_what_waits_and_does_not_linger_while_a_caller_waits() {
    let (permits, answers) = (Arc::new(Semaphore::new(9)), Answers::default());
    for caller in [publish(&answers), transaction_work()] {
        let (sender, mut receiver) = mpsc::channel(9);
        sender.send(WriteOperation::Complete(Box::new(completion(0)), permit(&permits))).await.unwrap();
        sender.send(caller).await.unwrap();
        let mut line = WaitingLine::default();
        // It is ready at the first poll: it waits neither for another operation nor for a timer.
        assert_eq!(line.gather(&mut receiver, LONG).now_or_never(), Some(true));
        let group = line.next_group();
        assert_eq!(group.len(), 2);
        assert_eq!(ids(&group.completions.completions), [0]);
    }
}

#[tokio::test]
async fn completions_wait_for_others() {
    let (permits, answers) = (Arc::new(Semaphore::new(9)), Answers::default());
    let (sender, mut receiver) = mpsc::channel(9);
    let mut line = WaitingLine { completions: pending(&permits, 0..1), ..WaitingLine::default() };
    {
        let mut gathering = std::pin::pin!(line.gather(&mut receiver, LONG));
        assert_eq!(gathering.as_mut().now_or_never(), None, "nobody waits for the completion");
        sender.send(publish(&answers)).await.unwrap();
        assert!(gathering.await, "the caller ends the waiting");
    }
    let group = line.next_group();
    assert_eq!((group.len(), group.publishes.len()), (2, 1));
}

#[tokio::test]
async fn completions_do_not_wait_longer_than_the_linger() {
    let permits = Arc::new(Semaphore::new(600));
    let (sender, mut receiver) = mpsc::channel(9);
    let mut line = WaitingLine { completions: pending(&permits, 0..1), ..WaitingLine::default() };
    assert!(line.gather(&mut receiver, Duration::ZERO).await);
    assert_eq!(line.next_group().len(), 1);
    line.completions = pending(&permits, 0..512);
    assert_eq!(line.gather(&mut receiver, LONG).now_or_never(), Some(true), "they fill a group");
    drop(sender);
}

#[tokio::test]
async fn group_has_a_largest_size() {
    let (sender, mut receiver) = mpsc::channel(600);
    for _ in 0..600 {
        sender.send(transaction_work()).await.unwrap();
    }
    let mut line = WaitingLine::default();
    assert!(line.gather(&mut receiver, LONG).await);
    assert_eq!((line.next_group().len(), line.next_group().len()), (512, 88));
}

#[tokio::test]
async fn closed_channel_ends_the_writer_after_what_it_still_holds() {
    let permits = Arc::new(Semaphore::new(9));
    let (sender, mut receiver) = mpsc::channel(9);
    sender.send(transaction_work()).await.unwrap();
    drop(sender);
    let mut line = WaitingLine::default();
    assert!(!line.gather(&mut receiver, LONG).await);
    assert_eq!(line.next_group().len(), 1, "it is committed first");
    assert!(!line.gather(&mut receiver, LONG).await && line.len() == 0);
    line.completions = pending(&permits, 0..2);
    assert!(!line.gather(&mut receiver, LONG).await && line.len() == 2);
}
