//! Lanes: one per webhook, served in turn, so that no webhook's backlog stands before another's events.
//!
//! Companies take turns before their webhooks do, and one may have only as many attempts in flight as are free besides:
//! alone half of all, two a third each. So there is always room for one more company, whatever hangs at the others.
//!
//! A lane holds a bounded number of deliveries in memory. What does not fit is parked in the database and comes in,
//! oldest first, when there is room. A lane with something parked takes nothing fresh: it would overtake.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::event::Event;
use crate::domain::webhook::Webhook;

/// Deliveries that one lane holds in memory.
const BUFFER: usize = 1024;

/// A delivery to be attempted.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) delivery: String,
    pub(super) webhook: String,
    pub(super) attempt_count: u32,
    pub(super) event: Arc<Event>,
}

#[derive(Debug, Default)]
struct Lane {
    company: String,
    event_type: String,
    queue: VecDeque<Job>,
    /// Places promised to events that are being stored.
    reserved: usize,
    in_flight: u32,
    slots: u32,
    /// Something may lie in the database for this lane.
    parked: bool,
    /// Somebody is fetching it.
    refilling: bool,
    /// Whether the lane stands in the round of those that can be served.
    in_round: bool,
}

impl Lane {
    fn room(&self) -> usize {
        BUFFER.saturating_sub(self.queue.len() + self.reserved)
    }

    fn can_be_served(&self) -> bool {
        !self.queue.is_empty() && self.in_flight < self.slots
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.reserved == 0 && self.in_flight == 0 && !self.parked && !self.refilling
    }
}

/// A company with something to be served or in flight.
#[derive(Debug, Default)]
struct Company {
    in_flight: usize,
    /// Its lanes that can be served, each once, in turn.
    round: VecDeque<String>,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<String, Lane>,
    companies: HashMap<String, Company>,
    /// The companies whose round is not empty, each once, in turn.
    round: VecDeque<String>,
    in_flight: usize,
    /// Deliveries in memory, queued or in flight: a lease that runs out is no reason to take them a second time.
    held: HashSet<String>,
    workers: usize,
    closed: bool,
}

/// All lanes of this process.
#[derive(Debug)]
pub(super) struct Lanes {
    state: Mutex<State>,
    max_workers: usize,
}

/// A place in a lane, kept for an event that is being stored. Dropped unused, it is free again.
pub(super) struct Place {
    lanes: Arc<Lanes>,
    webhook: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lanes.with_lane(&self.webhook, |lane| lane.reserved = lane.reserved.saturating_sub(1));
    }
}

/// A lane that has room for what is parked.
#[derive(Debug)]
pub(super) struct Refill {
    pub(super) webhook: String,
    pub(super) company: String,
    pub(super) event_type: String,
    pub(super) room: usize,
}

impl Lanes {
    /// No lanes yet; at most `max_workers` attempts at once over all of them.
    pub(super) fn new(max_workers: usize) -> Self {
        Self { state: Mutex::default(), max_workers }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_lane(&self, webhook: &str, change: impl FnOnce(&mut Lane)) {
        let mut state = self.lock();
        if let Some(lane) = state.lanes.get_mut(webhook) {
            change(lane);
            if lane.is_idle() {
                state.lanes.remove(webhook);
            }
        }
    }

    /// A place for a fresh event, or `None`: it has to be parked.
    pub(super) fn reserve(self: &Arc<Self>, webhook: &Webhook) -> Option<Place> {
        let mut state = self.lock();
        let lane = state.lane(webhook);
        if lane.parked || lane.refilling || lane.room() == 0 {
            return None;
        }
        lane.reserved += 1;
        Some(Place { lanes: self.clone(), webhook: webhook.id.clone() })
    }

    /// Puts a stored event into its place. True: start a worker.
    pub(super) fn put(&self, place: &Place, job: Job) -> bool {
        debug_assert_eq!(place.webhook, job.webhook);
        self.lock().push(job, self.max_workers)
    }

    /// Puts deliveries that were taken from the database into their lane. Answers how many workers to start, and those
    /// that found no room.
    pub(super) fn offer(&self, webhook: &Webhook, jobs: Vec<Job>) -> (usize, Vec<Job>) {
        let (mut workers, mut refused) = (0, Vec::new());
        let mut state = self.lock();
        for job in jobs {
            if state.held.contains(&job.delivery) {
                continue;
            }
            if state.lane(webhook).room() == 0 {
                refused.push(job);
            } else {
                workers += usize::from(state.push(job, self.max_workers));
            }
        }
        (workers, refused)
    }

    /// Something was parked for this webhook. True: there is room for it already.
    pub(super) fn parked(&self, webhook: &Webhook) -> bool {
        let mut state = self.lock();
        let lane = state.lane(webhook);
        lane.parked = true;
        lane.room() > BUFFER / 2
    }

    /// The lanes with something parked and room for at least half a buffer of it. Each is handed out once, until
    /// [`Lanes::refilled`].
    pub(super) fn to_refill(&self) -> Vec<Refill> {
        let mut state = self.lock();
        let ripe = |lane: &Lane| lane.parked && !lane.refilling && lane.room() > BUFFER / 2;
        let lanes = state.lanes.iter_mut().filter(|(_, lane)| ripe(lane));
        lanes
            .map(|(webhook, lane)| {
                (lane.parked, lane.refilling) = (false, true);
                Refill {
                    webhook: webhook.clone(),
                    company: lane.company.clone(),
                    event_type: lane.event_type.clone(),
                    room: lane.room(),
                }
            })
            .collect()
    }

    /// Ends a refill; `more`: there may be more of it in the database.
    pub(super) fn refilled(&self, webhook: &str, more: bool) {
        self.with_lane(webhook, |lane| {
            lane.refilling = false;
            lane.parked |= more;
        });
    }

    /// The next delivery to attempt, lanes taking turns. `None`: the worker that asked is to end.
    pub(super) fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        let job = if state.closed { None } else { state.next(self.max_workers) };
        if job.is_none() {
            state.workers = state.workers.saturating_sub(1);
        }
        job
    }

    /// An attempt has ended. True: its lane has room for what is parked.
    pub(super) fn done(&self, job: &Job) -> bool {
        let mut state = self.lock();
        state.held.remove(&job.delivery);
        state.landed(&job.event.company);
        let Some(lane) = state.lanes.get_mut(&job.webhook) else {
            return false;
        };
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let ripe = lane.parked && !lane.refilling && lane.room() > BUFFER / 2;
        if lane.is_idle() {
            state.lanes.remove(&job.webhook);
        } else {
            state.join_round(&job.webhook);
        }
        ripe
    }

    /// Empties the lane of a webhook that was removed; what is in flight stays.
    pub(super) fn drain(&self, webhook: &str) -> Vec<Job> {
        let mut jobs = VecDeque::new();
        self.with_lane(webhook, |lane| {
            jobs = std::mem::take(&mut lane.queue);
            lane.parked = false;
        });
        let mut state = self.lock();
        for job in &jobs {
            state.held.remove(&job.delivery);
        }
        jobs.into()
    }

    /// No more deliveries are handed out; those in flight end by themselves.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }
}

impl State {
    fn lane(&mut self, webhook: &Webhook) -> &mut Lane {
        let lane = self.lanes.entry(webhook.id.clone()).or_insert_with(|| Lane {
            company: webhook.company.clone(),
            event_type: webhook.event_type.clone(),
            ..Lane::default()
        });
        lane.slots = webhook.max_in_flight.max(1);
        lane
    }

    /// Queues a job of a known lane; whether a worker is to be started for it.
    fn push(&mut self, job: Job, max_workers: usize) -> bool {
        let webhook = job.webhook.clone();
        let Some(lane) = self.lanes.get_mut(&webhook) else {
            return false;
        };
        self.held.insert(job.delivery.clone());
        lane.queue.push_back(job);
        self.join_round(&webhook);
        let start = !self.closed && !self.round.is_empty() && self.workers < max_workers;
        self.workers += usize::from(start);
        start
    }

    fn join_round(&mut self, webhook: &str) {
        if let Some(lane) = self.lanes.get_mut(webhook).filter(|lane| lane.can_be_served() && !lane.in_round) {
            lane.in_round = true;
            let company = self.companies.entry(lane.company.clone()).or_default();
            if company.round.is_empty() {
                self.round.push_back(lane.company.clone());
            }
            company.round.push_back(webhook.to_owned());
        }
    }

    fn next(&mut self, max_workers: usize) -> Option<Job> {
        let free = max_workers.saturating_sub(self.in_flight);
        // Each company once: one that has its part now stays in the round.
        for _ in 0..self.round.len() {
            let name = self.round.pop_front()?;
            let has_part = self.companies.get(&name).is_some_and(|company| company.in_flight >= free);
            let job = if has_part { None } else { self.next_of(&name) };
            match self.companies.get(&name) {
                Some(company) if !company.round.is_empty() => self.round.push_back(name),
                Some(company) if company.in_flight == 0 => drop(self.companies.remove(&name)),
                _ => {}
            }
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// The next delivery of a company, its lanes taking turns.
    fn next_of(&mut self, name: &str) -> Option<Job> {
        while let Some(webhook) = self.companies.get_mut(name)?.round.pop_front() {
            let Some(lane) = self.lanes.get_mut(&webhook) else {
                continue;
            };
            lane.in_round = false;
            if !lane.can_be_served() {
                continue;
            }
            let job = lane.queue.pop_front();
            lane.in_flight += 1;
            self.in_flight += 1;
            let again = lane.can_be_served();
            lane.in_round = again;
            let company = self.companies.get_mut(name)?;
            company.in_flight += 1;
            if again {
                company.round.push_back(webhook);
            }
            return job;
        }
        None
    }

    /// An attempt of this company has ended.
    fn landed(&mut self, name: &str) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(company) = self.companies.get_mut(name) {
            company.in_flight = company.in_flight.saturating_sub(1);
            if company.in_flight == 0 && company.round.is_empty() {
                self.companies.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::OnError;

    fn webhook(id: &str, slots: u32) -> Webhook {
        webhook_of("c", id, slots)
    }

    fn webhook_of(company: &str, id: &str, slots: u32) -> Webhook {
        Webhook {
            id: id.into(),
            company: company.into(),
            event_type: "t".into(),
            target_url: String::new(),
            challenge: None,
            name: None,
            enabled: true,
            disabled_reason: None,
            plugin: None,
            plugin_digest: None,
            config: "null".into(),
            config_digest: crate::domain::plugin::Digest::of(b"null"),
            on_error: OnError::Retry,
            headers: Vec::new(),
            max_in_flight: slots,
            rate_limit: None,
            ordered: false,
            created_at: 0,
            updated_at: 0,
            signing_secret: Arc::from([].as_slice()),
            previous_secret: None,
        }
    }

    fn job(company: &str, webhook: &str, number: usize) -> Job {
        let event = Event {
            id: String::new(),
            event_type: "t".into(),
            company: company.into(),
            occurred_at: 0,
            headers: Vec::new(),
            data: bytes::Bytes::new(),
        };
        Job {
            delivery: format!("{webhook}-{number}"),
            webhook: webhook.into(),
            attempt_count: 0,
            event: Arc::new(event),
        }
    }

    fn jobs(webhook: &str, count: usize) -> Vec<Job> {
        jobs_of("c", webhook, count)
    }

    fn jobs_of(company: &str, webhook: &str, count: usize) -> Vec<Job> {
        (0..count).map(|number| job(company, webhook, number)).collect()
    }

    #[test]
    fn lanes_take_turns_whatever_their_backlog() {
        let lanes = Lanes::new(10);
        lanes.offer(&webhook("a", 100), jobs("a", 50));
        lanes.offer(&webhook("b", 100), jobs("b", 2));
        let order: Vec<_> = (0..5).map(|_| lanes.take().unwrap().delivery).collect();
        assert_eq!(order, ["a-0", "b-0", "a-1", "b-1", "a-2"]);
    }

    #[test]
    fn companies_take_turns_however_many_webhooks_they_have() {
        let lanes = Lanes::new(100);
        for webhook in ["a", "b", "c"] {
            lanes.offer(&webhook_of("many", webhook, 9), jobs_of("many", webhook, 9));
        }
        lanes.offer(&webhook_of("one", "x", 9), jobs_of("one", "x", 9));
        let order: Vec<_> = (0..6).map(|_| lanes.take().unwrap().delivery).collect();
        assert_eq!(order, ["a-0", "x-0", "b-0", "x-1", "c-0", "x-2"]);
    }

    #[test]
    fn a_company_leaves_as_many_attempts_free_as_it_has_in_flight() {
        let lanes = Lanes::new(12);
        let taken = |company: &str| {
            lanes.offer(&webhook_of(company, company, 99), jobs_of(company, company, 50));
            let jobs: Vec<_> = std::iter::from_fn(|| lanes.take()).collect();
            assert!(jobs.iter().all(|job| job.event.company == company));
            jobs
        };
        let first = taken("a");
        assert_eq!((first.len(), taken("b").len(), taken("c").len()), (6, 3, 2));
        // Who has more than its part now is not served again before others are.
        for job in &first[..2] {
            lanes.done(job);
        }
        assert_eq!(lanes.take().unwrap().event.company, "c");
    }

    #[test]
    fn slots_bound_what_is_in_flight_of_one_lane() {
        let lanes = Lanes::new(10);
        lanes.offer(&webhook("a", 2), jobs("a", 5));
        let first = lanes.take().unwrap();
        lanes.take().unwrap();
        assert!(lanes.take().is_none());
        lanes.done(&first);
        assert_eq!(lanes.take().unwrap().delivery, "a-2");
    }

    #[test]
    fn workers_are_bounded_and_counted() {
        let lanes = Lanes::new(2);
        assert_eq!(lanes.offer(&webhook("a", 9), jobs("a", 5)).0, 2);
        for _ in 0..5 {
            let taken = lanes.take().unwrap();
            lanes.done(&taken);
        }
        assert!(lanes.take().is_none() && lanes.take().is_none());
        assert_eq!(lanes.offer(&webhook("a", 9), jobs("a", 5)).0, 2);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_held_is_not_taken_twice() {
        let lanes = Lanes::new(1);
        let (_, refused) = lanes.offer(&webhook("a", 1), jobs("a", BUFFER + 3));
        assert_eq!(refused.len(), 3);
        let taken = lanes.take().unwrap();
        assert!(lanes.offer(&webhook("a", 1), vec![taken.clone()]).1.is_empty());
        lanes.done(&taken);
        assert_eq!(lanes.take().unwrap().delivery, "a-1");
    }

    #[test]
    fn a_lane_with_something_parked_takes_nothing_fresh_until_it_is_refilled() {
        let lanes = Arc::new(Lanes::new(1));
        let hook = webhook("a", 1);
        let place = lanes.reserve(&hook).unwrap();
        assert!(lanes.parked(&hook));
        assert!(lanes.reserve(&hook).is_none());
        let refill = lanes.to_refill();
        assert_eq!((refill.len(), refill[0].room), (1, BUFFER - 1));
        assert!(lanes.to_refill().is_empty() && lanes.reserve(&hook).is_none());
        lanes.refilled("a", true);
        assert_eq!(lanes.to_refill().len(), 1);
        lanes.refilled("a", false);
        assert!(lanes.reserve(&hook).is_some());
        drop(place);
        assert!(lanes.lock().lanes.is_empty(), "an idle lane costs nothing");
    }

    #[test]
    fn a_drained_lane_gives_up_what_is_queued_and_keeps_what_is_in_flight() {
        let lanes = Lanes::new(9);
        lanes.offer(&webhook("a", 1), jobs("a", 3));
        let taken = lanes.take().unwrap();
        let drained: Vec<_> = lanes.drain("a").into_iter().map(|job| job.delivery).collect();
        assert_eq!(drained, ["a-1", "a-2"]);
        assert!(lanes.drain("nobody").is_empty());
        lanes.done(&taken);
        assert!(lanes.take().is_none());
        let state = lanes.lock();
        assert!(state.lanes.is_empty() && state.held.is_empty() && state.companies.is_empty());
    }

    #[test]
    fn a_closed_house_hands_out_nothing() {
        let lanes = Lanes::new(1);
        lanes.offer(&webhook("a", 1), jobs("a", 1));
        lanes.close();
        assert!(lanes.take().is_none());
        assert_eq!(lanes.offer(&webhook("a", 1), jobs("b", 1)).0, 0);
    }
}
