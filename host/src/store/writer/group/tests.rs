//! Grouping, without a database.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::super::operation::CommitCallback;
use super::*;
use crate::domain::delivery::Status;
use crate::domain::event::Event;
use crate::store::delivery_rows::NewDelivery;

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

fn publish(answers: &Answers) -> WriteOperation {
    let event = Event {
        id: "e".into(),
        event_type: "t".into(),
        company: "acme".into(),
        occurred_at: 0,
        headers: Vec::new(),
        data: Bytes::from_static(b"{}"),
    };
    let row = NewDelivery { id: "d".into(), event: Arc::new(event), webhook: None, lease: None, created_at: 0 };
    let answers = answers.clone();
    let done = Box::new(move |answer: Result<_, StoreError>| {
        answers
            .lock()
            .unwrap()
            .push(answer.map_or_else(|error| error.to_string(), |published| format!("{published:?}")));
    });
    WriteOperation::Publish(Publish { row, done })
}

fn transaction_work() -> WriteOperation {
    WriteOperation::Transaction(Box::new(|_| Box::pin(async { Ok(Box::new(|| ()) as CommitCallback) })))
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
fn refused_events_are_answered_and_leave_the_group() {
    let (answers, mut group) = (Answers::default(), WriteGroup::default());
    for operation in [publish(&answers), transaction_work(), publish(&answers)] {
        group.push(operation);
    }
    group.refuse_publishes(&|| StoreError::Full);
    assert_eq!(*answers.lock().unwrap(), ["the disk is full", "the disk is full"]);
    assert_eq!((group.publishes.len(), group.transactions.len(), group.len()), (0, 1, 1));
}

#[tokio::test]
async fn group_takes_what_waits_and_does_not_linger_while_a_caller_waits() {
    let (permits, answers) = (Arc::new(Semaphore::new(9)), Answers::default());
    for caller in [publish(&answers), transaction_work()] {
        let (sender, mut receiver) = mpsc::channel(9);
        sender.send(WriteOperation::Complete(Box::new(completion(0)), permit(&permits))).await.unwrap();
        sender.send(caller).await.unwrap();
        let mut group = WriteGroup::default();
        // It is ready at the first poll: it waits neither for another operation nor for a timer.
        assert_eq!(group.gather(&mut receiver, LONG).now_or_never(), Some(true));
        assert_eq!(group.len(), 2);
        assert_eq!(ids(&group.completions.completions), [0]);
    }
}

#[tokio::test]
async fn completions_wait_for_others() {
    let (permits, answers) = (Arc::new(Semaphore::new(9)), Answers::default());
    let (sender, mut receiver) = mpsc::channel(9);
    let mut group = WriteGroup::of_completions(pending(&permits, 0..1));
    {
        let mut gathering = std::pin::pin!(group.gather(&mut receiver, LONG));
        assert_eq!(gathering.as_mut().now_or_never(), None, "nobody waits for the completion");
        sender.send(publish(&answers)).await.unwrap();
        assert!(gathering.await, "the caller ends the waiting");
    }
    assert_eq!((group.len(), group.publishes.len()), (2, 1));
}

#[tokio::test]
async fn completions_do_not_wait_longer_than_the_linger() {
    let permits = Arc::new(Semaphore::new(9));
    let (sender, mut receiver) = mpsc::channel(9);
    let mut group = WriteGroup::of_completions(pending(&permits, 0..1));
    assert!(group.gather(&mut receiver, Duration::ZERO).await);
    assert_eq!(group.len(), 1);
    drop(sender);
}

#[tokio::test]
async fn group_has_a_largest_size() {
    let (sender, mut receiver) = mpsc::channel(600);
    for _ in 0..600 {
        sender.send(transaction_work()).await.unwrap();
    }
    let mut group = WriteGroup::default();
    assert!(group.gather(&mut receiver, LONG).await);
    assert_eq!(group.len(), 512);
    let mut group = WriteGroup::default();
    assert!(group.gather(&mut receiver, LONG).await);
    assert_eq!(group.len(), 88);
}

#[tokio::test]
async fn closed_channel_ends_the_writer_after_what_it_still_holds() {
    let permits = Arc::new(Semaphore::new(9));
    let (sender, mut receiver) = mpsc::channel(9);
    sender.send(transaction_work()).await.unwrap();
    drop(sender);
    let mut group = WriteGroup::default();
    assert!(!group.gather(&mut receiver, LONG).await);
    assert_eq!(group.len(), 1, "it is committed first");
    let mut empty = WriteGroup::default();
    assert!(!empty.gather(&mut receiver, LONG).await && empty.len() == 0);
    let mut completions = WriteGroup::of_completions(pending(&permits, 0..2));
    assert!(!completions.gather(&mut receiver, LONG).await && completions.len() == 2);
}
