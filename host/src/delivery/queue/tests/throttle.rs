//! Receivers that answer 429.

use super::*;

/// A receiver that accepts a number of requests in each minute, and otherwise tells when the next one begins.
struct LimitedReceiver {
    per_minute: u64,
    minute: u64,
    accepted_in_minute: u64,
    accepted: u64,
    refused: u64,
}

impl LimitedReceiver {
    fn answer(&mut self, elapsed: Duration) -> ReceiverSignal {
        let minute = elapsed.as_secs() / 60;
        if minute != self.minute {
            (self.minute, self.accepted_in_minute) = (minute, 0);
        }
        if self.accepted_in_minute < self.per_minute {
            self.accepted_in_minute += 1;
            self.accepted += 1;
            return ReceiverSignal::Accepted;
        }
        self.refused += 1;
        ReceiverSignal::Throttled(Some(Duration::from_secs(60 - elapsed.as_secs() % 60 + 1)))
    }
}

/// Sends `count` events with a round trip of 50 ms. Returns the receiver and the time it took.
fn send(count: usize, per_minute: u64) -> (LimitedReceiver, Duration) {
    let (clock, queues) = TestClock::with_queues(4096);
    let hook = webhook("a", 32);
    make_healthy(&queues, &hook);
    end_fetch(&queues, &one_fetch(&queues), OrderAnswer::NotAsked);
    offer(&queues, &hook, deliveries("a", count));
    let mut receiver = LimitedReceiver { per_minute, minute: 0, accepted_in_minute: 0, accepted: 0, refused: 0 };
    let mut waiting: Vec<(Instant, QueuedDelivery)> = Vec::new();
    while receiver.accepted < count as u64 {
        let taken = take_all(&queues);
        if taken.is_empty() {
            let (_, opens) = queues.open_due();
            let next = waiting.iter().map(|(at, _)| *at).chain(opens).min().expect("nothing is left to do");
            clock.advance(next.max(clock.now() + MILLISECOND) - clock.now());
        } else {
            clock.advance(50 * MILLISECOND);
        }
        for delivery in taken {
            let signal = receiver.answer(clock.elapsed());
            judge(&queues, &delivery, signal);
            let wait = if let ReceiverSignal::Throttled(wait) = signal { wait } else { None };
            end(&queues, &delivery, wait.is_some());
            waiting.extend(wait.map(|wait| (clock.now() + wait, QueuedDelivery { attempt_count: 1, ..delivery })));
        }
        let (due, later) = waiting.into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= clock.now());
        waiting = later;
        offer(&queues, &hook, due.into_iter().map(|(_, delivery)| delivery).collect());
        let _ = queues.open_due();
    }
    (receiver, clock.elapsed())
}

#[test]
fn receiver_of_thirty_a_minute_gets_three_hundred_events_in_ten_minutes_with_few_refusals() {
    let (receiver, time) = send(300, 30);
    assert!(time <= 12 * 60 * SECOND, "{time:?}");
    assert!(receiver.refused < 60, "{} refused", receiver.refused);
}

#[test]
fn receiver_with_room_is_sent_to_at_full_speed_again() {
    let (receiver, time) = send(900, 800);
    assert!(time <= 130 * SECOND && receiver.refused <= 64, "{time:?} {}", receiver.refused);
}

#[test]
fn pause_holds_first_attempts_and_retries_and_a_changed_webhook_ends_it() {
    let (clock, queues) = TestClock::with_queues(99);
    let hook = webhook("a", 8);
    make_healthy(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 1));
    let taken = take(&queues).unwrap();
    judge(&queues, &taken, ReceiverSignal::Throttled(Some(30 * SECOND)));
    end(&queues, &taken, true);
    offer(&queues, &hook, deliveries("a", 5).split_off(1));
    offer(&queues, &hook, retries("a", 1));
    assert!(queues.take().is_none());
    assert_eq!(queues.open_due().1, Some(clock.now() + 30 * SECOND));
    clock.advance(30 * SECOND);
    let _ = queues.open_due();
    assert_eq!(take_all(&queues).len(), 1, "one attempt shows whether the pause is over");
    let _ = queues.webhook_changed(&hook);
    assert_eq!(take_all(&queues).len(), 4);
}
