//! Fair rounds: which company, and which of its webhooks, is served next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::AttemptClass;
use super::attempt_class::{InFlight, PerClass};
use super::memory::READ_FOR_ATTEMPTS;

/// A company with something to be served or in flight.
#[derive(Debug, Default)]
struct Company {
    attempts: InFlight,
    bytes: InFlight,
    rounds: PerClass<CompanyRound>,
}

/// The round of one company in one class.
#[derive(Debug, Default)]
struct CompanyRound {
    /// Its webhooks that can be served, in turn.
    webhooks: VecDeque<Arc<str>>,
    /// Whether the company stands in the round of the companies.
    listed: bool,
}

impl Company {
    fn is_idle(&self) -> bool {
        self.attempts.total() == 0 && self.rounds.all().iter().all(|round| round.webhooks.is_empty() && !round.listed)
    }
}

/// A bound on what is in flight, of which a company may have as much as is free.
#[derive(Debug)]
struct Budget {
    max: usize,
    in_flight: InFlight,
}

impl Budget {
    fn new(max: usize) -> Self {
        Self { max, in_flight: InFlight::default() }
    }

    /// Returns whether the class has some of it left.
    fn has_room(&self, class: AttemptClass) -> bool {
        *self.in_flight.get(class) < class.limit(self.max)
    }

    /// Returns whether what a company has is its share, in all or in the class.
    fn is_fair_share(&self, own: &InFlight, class: AttemptClass) -> bool {
        let free = self.max.saturating_sub(self.in_flight.total());
        let free_in_class = class.limit(self.max).saturating_sub(*self.in_flight.get(class));
        own.total() >= free || *own.get(class) >= free_in_class
    }
}

/// The rounds in which companies, and within each of them its webhooks, are served, for each class of attempts; and the
/// attempts in flight, which bound them.
#[derive(Debug)]
pub(super) struct FairRounds {
    companies: HashMap<Arc<str>, Company>,
    /// The companies with a webhook to be served, each once, in turn.
    rounds: PerClass<VecDeque<Arc<str>>>,
    attempts: Budget,
    /// Of events that are read from the database for their attempts.
    bytes: Budget,
}

impl FairRounds {
    /// Returns empty rounds for at most `max_attempts` in flight.
    pub(super) fn new(max_attempts: usize) -> Self {
        let (attempts, bytes) = (Budget::new(max_attempts), Budget::new(READ_FOR_ATTEMPTS));
        Self { companies: HashMap::new(), rounds: PerClass::default(), attempts, bytes }
    }

    /// Returns whether nothing is in flight or remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.companies.is_empty() && self.attempts.in_flight.total() == 0 && self.bytes.in_flight.total() == 0
    }

    /// Returns whether a company stands in a round in which an attempt may begin.
    pub(super) fn have_work(&self) -> bool {
        AttemptClass::ALL.into_iter().any(|class| self.may_begin(class) && self.companies_in(class) > 0)
    }

    /// Adds a company to the round of a class, and its webhook to the company's; `listed` says whether the webhook has an
    /// entry there already.
    pub(super) fn enlist(&mut self, company: &Arc<str>, webhook_id: &Arc<str>, class: AttemptClass, listed: &mut bool) {
        let round = self.companies.entry(company.clone()).or_default().rounds.get_mut(class);
        if !std::mem::replace(listed, true) {
            round.webhooks.push_back(webhook_id.clone());
        }
        if !std::mem::replace(&mut round.listed, true) {
            self.rounds.get_mut(class).push_back(company.clone());
        }
    }

    /// Returns whether one more attempt of a class may begin.
    pub(super) fn may_begin(&self, class: AttemptClass) -> bool {
        self.attempts.has_room(class) && self.bytes.has_room(class)
    }

    /// Returns how many companies stand in the round of a class.
    pub(super) fn companies_in(&self, class: AttemptClass) -> usize {
        self.rounds.get(class).len()
    }

    /// Begins the turn of the next company.
    pub(super) fn next_company(&mut self, class: AttemptClass) -> Option<Arc<str>> {
        self.rounds.get_mut(class).pop_front()
    }

    /// Ends the turn of a company: it joins the round again at its end, if it has more webhooks to be served.
    pub(super) fn end_turn(&mut self, company: Arc<str>, class: AttemptClass) {
        let Some(entry) = self.companies.get_mut(&company) else { return };
        let round = entry.rounds.get_mut(class);
        round.listed = !round.webhooks.is_empty();
        if round.listed {
            self.rounds.get_mut(class).push_back(company);
        } else {
            self.forget_if_idle(&company);
        }
    }

    /// Returns whether a company has its fair share in flight: as many attempts as are free, or as many bytes, in all or in the
    /// class.
    pub(super) fn has_fair_share(&self, company: &str, class: AttemptClass) -> bool {
        self.companies.get(company).is_some_and(|company| {
            self.attempts.is_fair_share(&company.attempts, class) || self.bytes.is_fair_share(&company.bytes, class)
        })
    }

    /// Returns how many webhooks stand in the round of a company.
    pub(super) fn webhooks_in(&self, company: &str, class: AttemptClass) -> usize {
        self.companies.get(company).map_or(0, |company| company.rounds.get(class).webhooks.len())
    }

    /// Takes the next webhook of a company out of its round.
    pub(super) fn next_webhook(&mut self, company: &str, class: AttemptClass) -> Option<Arc<str>> {
        self.companies.get_mut(company)?.rounds.get_mut(class).webhooks.pop_front()
    }

    /// Counts an attempt that begins, and the `bytes` that are read for it.
    pub(super) fn attempt_began(&mut self, company: &str, class: AttemptClass, bytes: usize) {
        self.attempts.in_flight.begin(class, 1);
        self.bytes.in_flight.begin(class, bytes);
        if let Some(company) = self.companies.get_mut(company) {
            company.attempts.begin(class, 1);
            company.bytes.begin(class, bytes);
        }
    }

    /// Counts an attempt that has ended, with the `bytes` that were read for it.
    pub(super) fn attempt_ended(&mut self, company: &str, class: AttemptClass, bytes: usize) {
        self.attempts.in_flight.end(class, 1);
        self.bytes.in_flight.end(class, bytes);
        if let Some(company) = self.companies.get_mut(company) {
            company.attempts.end(class, 1);
            company.bytes.end(class, bytes);
        }
    }

    /// Removes a company with nothing to be served and nothing in flight.
    pub(super) fn forget_if_idle(&mut self, company: &str) {
        if self.companies.get(company).is_some_and(Company::is_idle) {
            self.companies.remove(company);
        }
    }
}
