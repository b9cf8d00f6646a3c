//! All lanes and the rounds in which they are served.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::ownership::Seats;
use super::webhook_queue::{AttemptClass, Spot, WebhookQueue};
use super::{Effects, QueuedDelivery};
use crate::domain::webhook::Webhook;

/// Deliveries that one lane holds in memory while there is memory enough.
pub(super) const BUFFER: usize = 1024;
/// The same when more than half of [`MEMORY`] is used, and when all of it is: enough to keep an attempt going, so that
/// lanes with a backlog do not take the memory that others need to deliver at all.
const SCARCE: usize = 64;
const LEAST: usize = 4;
/// What all deliveries in memory together may take, in bytes. More than that they take only by [`LEAST`] a lane.
const MEMORY: usize = 8 << 20;

type Rounds = [VecDeque<Arc<str>>; AttemptClass::ALL.len()];

/// How many attempts of each class are in flight.
#[derive(Debug, Clone, Copy, Default)]
struct InFlight([usize; AttemptClass::ALL.len()]);

impl InFlight {
    fn of(&self, class: AttemptClass) -> usize {
        self.0.get(class as usize).copied().unwrap_or_default()
    }

    fn all(&self) -> usize {
        self.0.iter().sum()
    }

    fn begin(&mut self, class: AttemptClass) {
        self.0.get_mut(class as usize).into_iter().for_each(|count| *count += 1);
    }

    fn end(&mut self, class: AttemptClass) {
        self.0.get_mut(class as usize).into_iter().for_each(|count| *count = count.saturating_sub(1));
    }
}

/// A company with something to be served or in flight.
#[derive(Debug, Default)]
struct Company {
    in_flight: InFlight,
    /// Its lanes that can be served, in turn, for each class.
    rounds: Rounds,
    /// Whether the company stands in the round of that class.
    listed: [bool; AttemptClass::ALL.len()],
}

/// What the lock of the lanes holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) lanes: HashMap<Arc<str>, WebhookQueue>,
    companies: HashMap<Arc<str>, Company>,
    /// The companies whose round of that class is not empty, each once, in turn.
    rounds: Rounds,
    max: usize,
    in_flight: InFlight,
    /// Deliveries in memory, queued or in flight: a lease that runs out is no reason to take them a second time.
    held: HashSet<String>,
    bytes: usize,
    workers: usize,
    pub(super) closed: bool,
    /// When lanes open that are closed now. An entry is in force while the lane's `timer` says the same.
    timers: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// A timer was set that is the next.
    pub(super) hurry: bool,
    turn: u64,
    pub(super) seats: Seats,
}

impl State {
    pub(super) fn new(max: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            companies: HashMap::new(),
            rounds: Rounds::default(),
            max,
            in_flight: InFlight::default(),
            held: HashSet::new(),
            bytes: 0,
            workers: 0,
            closed: false,
            timers: BinaryHeap::new(),
            hurry: false,
            turn: 0,
            seats: Seats::default(),
        }
    }

    /// The webhook's lane, going by the webhook as it stands.
    pub(super) fn lane(&mut self, webhook: &Webhook) -> &mut WebhookQueue {
        let new = || WebhookQueue::new(webhook, self.seats.share(&webhook.id));
        let lane = self.lanes.entry(webhook.id.as_str().into()).or_insert_with(new);
        lane.follow(webhook);
        lane
    }

    /// Whether nothing at all is held or remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.bytes == 0 && self.companies.is_empty() && self.in_flight.all() == 0
    }

    /// How many deliveries a lane may hold now.
    pub(super) fn limit(&self) -> usize {
        match self.bytes {
            bytes if bytes < MEMORY / 2 => BUFFER,
            bytes if bytes < MEMORY => SCARCE,
            _ => LEAST,
        }
    }

    pub(super) fn holds(&self, delivery: &str) -> bool {
        self.held.contains(delivery)
    }

    /// Queues a job of a known lane.
    pub(super) fn push(&mut self, job: QueuedDelivery, spot: Spot, now: Instant) {
        let Some(lane) = self.lanes.get_mut(job.webhook_id.as_str()) else {
            return;
        };
        self.held.insert(job.id.clone());
        self.bytes += job.size();
        let webhook = job.webhook_id.clone();
        lane.put(job, spot);
        self.settle(&webhook, now);
    }

    pub(super) fn let_go(&mut self, job: &QueuedDelivery) {
        if self.held.remove(&job.id) {
            self.bytes = self.bytes.saturating_sub(job.size());
        }
    }

    /// Empties a lane; what is in flight stays.
    pub(super) fn empty(&mut self, webhook: &str, now: Instant) -> Vec<QueuedDelivery> {
        let Some(lane) = self.lanes.get_mut(webhook) else {
            return Vec::new();
        };
        lane.start_anew();
        (lane.parked, lane.replayed) = (false, false);
        let jobs = lane.take_all();
        for job in &jobs {
            self.let_go(job);
        }
        self.settle(webhook, now);
        jobs
    }

    /// Does something to every lane, and what follows from it.
    pub(super) fn for_each_lane(&mut self, now: Instant, mut change: impl FnMut(&mut WebhookQueue)) {
        self.lanes.values_mut().for_each(&mut change);
        let webhooks: Vec<_> = self.lanes.keys().cloned().collect();
        for webhook in webhooks {
            self.settle(&webhook, now);
        }
    }

    /// Whether a worker is to be started; it counts as started then.
    pub(super) fn starts_worker(&mut self, now: Instant) -> bool {
        let anything =
            AttemptClass::ALL.iter().zip(&self.rounds).any(|(class, round)| self.may(*class) && !round.is_empty());
        let starts = !self.closed && self.workers < self.max && anything && !self.seats.is_fenced(now);
        self.workers += usize::from(starts);
        starts
    }

    /// Returns whether the queue has room for something that may lie in the database.
    pub(super) fn wants_fetch(&self, webhook_id: &str) -> bool {
        let limit = self.limit();
        self.lanes.get(webhook_id).is_some_and(|lane| lane.wants_parked(limit) || lane.wants_replays())
    }

    /// Returns the effects of an input to this webhook's queue.
    pub(super) fn effects(&mut self, webhook_id: &str, now: Instant) -> Effects {
        let wake_fetcher = self.wants_fetch(webhook_id);
        Effects { start_worker: self.starts_worker(now), wake_fetcher, ..Effects::default() }
    }

    /// Numbers the refills.
    pub(super) fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Brings what follows from a lane's state up to date: its entry in the round, its timer, or that it is forgotten.
    pub(super) fn settle(&mut self, webhook: &str, now: Instant) {
        let Some((id, _)) = self.lanes.get_key_value(webhook) else {
            return;
        };
        let id = id.clone();
        let Some(lane) = self.lanes.get_mut(webhook) else {
            return;
        };
        if lane.is_idle(now) {
            self.lanes.remove(webhook);
            return;
        }
        if !lane.is_ready() {
            lane.servable_since = None;
            return;
        }
        match lane.opens_at().filter(|at| *at > now) {
            Some(at) => {
                lane.servable_since = None;
                if lane.timer != Some(at) {
                    lane.timer = Some(at);
                    self.hurry |= self.timers.peek().is_none_or(|Reverse((next, _))| at < *next);
                    self.timers.push(Reverse((at, id)));
                }
            }
            None => {
                lane.servable_since.get_or_insert(now);
                self.enlist(&id);
            }
        }
    }

    fn enlist(&mut self, id: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(id) else {
            return;
        };
        let class = lane.class() as usize;
        let company = self.companies.entry(lane.company.clone()).or_default();
        if let (Some(entry), Some(round)) = (lane.entries.get_mut(class), company.rounds.get_mut(class))
            && !std::mem::replace(entry, true)
        {
            round.push_back(id.clone());
        }
        if let (Some(listed), Some(round)) = (company.listed.get_mut(class), self.rounds.get_mut(class))
            && !std::mem::replace(listed, true)
        {
            round.push_back(lane.company.clone());
        }
    }

    /// The next delivery to attempt; without one, the worker that asked is to end.
    pub(super) fn next(&mut self, now: Instant) -> Option<QueuedDelivery> {
        let mut job = None;
        if !self.closed && !self.seats.is_fenced(now) {
            job = AttemptClass::ALL.into_iter().find_map(|class| self.next_in(class, now));
        }
        if job.is_none() {
            self.workers = self.workers.saturating_sub(1);
        }
        job
    }

    /// Whether one more attempt of this class may begin.
    fn may(&self, class: AttemptClass) -> bool {
        self.in_flight.of(class) < class.most(self.max)
    }

    fn next_in(&mut self, class: AttemptClass, now: Instant) -> Option<QueuedDelivery> {
        if !self.may(class) {
            return None;
        }
        // Each company once: one that has its part now stays in the round.
        for _ in 0..self.rounds.get(class as usize)?.len() {
            let name = self.rounds.get_mut(class as usize)?.pop_front()?;
            let job = if self.has_part(&name, class) { None } else { self.next_of(&name, class, now) };
            if let Some(company) = self.companies.get_mut(&name) {
                let more = company.rounds.get(class as usize).is_some_and(|round| !round.is_empty());
                if let Some(listed) = company.listed.get_mut(class as usize) {
                    *listed = more;
                }
                if more {
                    self.rounds.get_mut(class as usize)?.push_back(name);
                } else {
                    self.forget_company(&name);
                }
            }
            if job.is_some() {
                return job;
            }
        }
        None
    }

    fn has_part(&self, name: &str, class: AttemptClass) -> bool {
        let free = self.max.saturating_sub(self.in_flight.all());
        let free_in_class = class.most(self.max).saturating_sub(self.in_flight.of(class));
        self.companies
            .get(name)
            .is_some_and(|company| company.in_flight.all() >= free || company.in_flight.of(class) >= free_in_class)
    }

    /// The next delivery of a company, its lanes taking turns.
    fn next_of(&mut self, name: &str, class: AttemptClass, now: Instant) -> Option<QueuedDelivery> {
        for _ in 0..self.companies.get(name)?.rounds.get(class as usize)?.len() {
            let id = self.companies.get_mut(name)?.rounds.get_mut(class as usize)?.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&id) else {
                continue;
            };
            if let Some(entry) = lane.entries.get_mut(class as usize) {
                *entry = false;
            }
            let fits = lane.class() as usize <= class as usize;
            let job = if fits && lane.is_servable(now) { lane.take(now) } else { None };
            self.settle(&id, now);
            if let Some(mut job) = job {
                job.class = class;
                self.began(name, class);
                return Some(job);
            }
        }
        None
    }

    fn began(&mut self, name: &str, class: AttemptClass) {
        self.in_flight.begin(class);
        if let Some(company) = self.companies.get_mut(name) {
            company.in_flight.begin(class);
        }
    }

    /// An attempt has ended; `again`: it is to be retried.
    pub(super) fn ended(&mut self, job: &QueuedDelivery, again: bool, now: Instant) {
        self.let_go(job);
        self.in_flight.end(job.class);
        if let Some(company) = self.companies.get_mut(job.event.company.as_str()) {
            company.in_flight.end(job.class);
        }
        if let Some(lane) = self.lanes.get_mut(job.webhook_id.as_str()) {
            lane.ended(&job.id, again);
        }
        self.settle(&job.webhook_id, now);
        self.forget_company(&job.event.company);
    }

    fn forget_company(&mut self, name: &str) {
        let idle = |company: &Company| company.in_flight.all() == 0 && company.rounds.iter().all(VecDeque::is_empty);
        if self.companies.get(name).is_some_and(|company| idle(company) && !company.listed.contains(&true)) {
            self.companies.remove(name);
        }
    }

    /// Lets in the lanes that open at `now`; answers when the next one does.
    pub(super) fn open(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, id))) = self.timers.peek().cloned() {
            let in_force = self.lanes.get(&id).is_some_and(|lane| lane.timer == Some(at));
            if in_force && at > now {
                return Some(at);
            }
            self.timers.pop();
            if let Some(lane) = self.lanes.get_mut(&id).filter(|_| in_force) {
                lane.timer = None;
                self.settle(&id, now);
            }
        }
        None
    }
}
