//! What a receiver asks for with 429, or with 503 and `Retry-After`: a pause, and fewer attempts at once.
//!
//! Receivers count requests in windows of their own, which nobody can see. So the limit of attempts in flight is found as in
//! TCP's congestion avoidance (RFC 5681): each such answer halves it, and it creeps up while events are accepted. After
//! a pause, one attempt shows whether the receiver accepts events again.

use std::time::Duration;

use tokio::time::Instant;

/// The pause if the receiver names none: doubled from one to the next without an accepted event between, within these bounds.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Events accepted in a row after which one more attempt may be in flight.
const ACCEPTED_PER_SLOT: u32 = 16;

/// The phase of a throttled queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Attempts are made, within the found limit.
    #[default]
    Open,
    /// No attempt begins before this instant, and only one after it.
    Paused(Instant),
    /// This one is in flight.
    Probing,
}

/// The throttle of one webhook queue.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    phase: Phase,
    /// Most attempts in flight, as found; `None`: as many as the webhook allows.
    slots: Option<u32>,
    /// Events accepted since the limit changed.
    accepted: u32,
    /// The last pause that the receiver did not name.
    last_pause: Duration,
}

impl Throttle {
    /// Records an answer that asks for a pause, of which the receiver may name the length. `in_flight` counts the attempts in
    /// flight, with this one.
    pub(super) fn throttled(&mut self, retry_after: Option<Duration>, in_flight: u32, now: Instant) {
        self.slots = Some((self.slots.unwrap_or(in_flight) / 2).max(1));
        self.accepted = 0;
        let pause = retry_after.filter(|wait| !wait.is_zero()).unwrap_or_else(|| {
            // Answers to attempts that were in flight together ask for the same pause.
            if !matches!(self.phase, Phase::Paused(_)) {
                self.last_pause = (self.last_pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            }
            self.last_pause
        });
        let until = match self.phase {
            Phase::Paused(until) => until.max(now + pause),
            Phase::Open | Phase::Probing => now + pause,
        };
        self.phase = Phase::Paused(until);
    }

    /// Records any other answer, or none; `accepted`: the receiver accepted the event.
    pub(super) fn answered(&mut self, accepted: bool) {
        // An attempt that began before the pause shows nothing about its end.
        if self.phase == Phase::Probing {
            self.phase = Phase::Open;
        }
        if !accepted {
            return;
        }
        self.last_pause = Duration::ZERO;
        self.accepted += 1;
        if self.accepted >= ACCEPTED_PER_SLOT {
            self.accepted = 0;
            self.slots = self.slots.map(|slots| slots.saturating_add(1));
        }
    }

    /// Records that an attempt ended without a request: if it was to show whether the pause is over, the next one does.
    pub(super) fn nothing_sent(&mut self, now: Instant) {
        if self.phase == Phase::Probing {
            self.phase = Phase::Paused(now);
        }
    }

    /// Records that an attempt begins.
    pub(super) fn attempt_began(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Paused(until) if until <= now) {
            self.phase = Phase::Probing;
        }
    }

    /// Records that a user wants an attempt now: it does not wait for the end of the pause.
    pub(super) fn attempt_requested(&mut self, now: Instant) {
        if let Phase::Paused(until) = &mut self.phase {
            *until = now.min(*until);
        }
    }

    /// Returns the limit of attempts in flight, of the `allowed` ones.
    pub(super) fn slots(&self, allowed: u32) -> u32 {
        match self.phase {
            Phase::Open => self.slots.map_or(allowed, |slots| slots.min(allowed)),
            Phase::Paused(_) | Phase::Probing => allowed.min(1),
        }
    }

    /// Returns the end of the pause; `None`: there is none.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Paused(until) => Some(until),
            Phase::Open | Phase::Probing => None,
        }
    }

    /// Returns whether nothing is lost by forgetting it.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.opens_at().is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Begins an attempt and has the receiver accept it, `count` times.
    fn accept(throttle: &mut Throttle, count: u32, now: Instant) {
        for _ in 0..count {
            throttle.attempt_began(now);
            throttle.answered(true);
        }
    }

    #[test]
    fn named_pause_is_kept_and_then_one_attempt_probes() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!((throttle.slots(32), throttle.opens_at()), (32, None));
        throttle.throttled(Some(60 * SECOND), 32, now);
        throttle.throttled(Some(30 * SECOND), 31, now + SECOND);
        // One that began before the pause shows nothing.
        throttle.answered(true);
        assert_eq!((throttle.opens_at(), throttle.slots(32)), (Some(now + 60 * SECOND), 1));
        assert!(!throttle.is_forgettable(now + 59 * SECOND) && throttle.is_forgettable(now + 60 * SECOND));
        throttle.attempt_began(now + 59 * SECOND);
        assert!(throttle.opens_at().is_some(), "the pause is not over");
        throttle.attempt_began(now + 60 * SECOND);
        assert_eq!((throttle.opens_at(), throttle.slots(32)), (None, 1));
        throttle.answered(true);
        assert_eq!(throttle.slots(32), 8, "halved twice");
    }

    #[test]
    fn limit_is_halved_by_each_answer_and_creeps_up() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        for expected in [16, 8, 4, 2, 1, 1] {
            throttle.throttled(None, 32, now);
            now += LONGEST_PAUSE;
            throttle.attempt_began(now);
            throttle.answered(false);
            assert_eq!(throttle.slots(32), expected);
        }
        accept(&mut throttle, ACCEPTED_PER_SLOT - 1, now);
        assert_eq!(throttle.slots(32), 1);
        accept(&mut throttle, 1, now);
        assert_eq!(throttle.slots(32), 2);
        accept(&mut throttle, 40 * ACCEPTED_PER_SLOT, now);
        assert_eq!((throttle.slots(32), throttle.slots(4)), (32, 4));
    }

    #[test]
    fn pause_without_a_length_doubles_until_an_event_is_accepted() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            throttle.throttled(Some(Duration::ZERO), 1, now);
            throttle.throttled(None, 1, now);
            let until = throttle.opens_at().unwrap();
            pauses.push((until - now).as_secs());
            now = until;
            throttle.attempt_began(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        throttle.answered(true);
        throttle.throttled(None, 1, now);
        assert_eq!(throttle.opens_at(), Some(now + SECOND));
    }

    #[test]
    fn attempt_that_sent_nothing_does_not_show_that_the_pause_is_over() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.nothing_sent(now);
        assert_eq!(throttle.slots(32), 32);
        throttle.throttled(Some(60 * SECOND), 32, now);
        throttle.nothing_sent(now);
        assert_eq!(throttle.opens_at(), Some(now + 60 * SECOND));
        let later = now + 60 * SECOND;
        throttle.attempt_began(later);
        throttle.nothing_sent(later);
        assert_eq!((throttle.opens_at(), throttle.slots(32)), (Some(later), 1), "one more attempt, at once");
        throttle.attempt_began(later);
        throttle.answered(true);
        assert_eq!(throttle.slots(32), 16);
    }

    #[test]
    fn requested_attempt_ends_the_pause() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.attempt_requested(now);
        assert_eq!(throttle.opens_at(), None);
        throttle.throttled(Some(60 * SECOND), 4, now);
        throttle.attempt_requested(now + SECOND);
        assert_eq!((throttle.opens_at(), throttle.slots(4)), (Some(now + SECOND), 1));
        throttle.attempt_requested(now + 9 * SECOND);
        assert_eq!(throttle.opens_at(), Some(now + SECOND));
    }
}
