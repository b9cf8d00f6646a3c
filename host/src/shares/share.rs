//! One shared resource: who holds how much of it, and who waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Resource, ShareExceeded};
use crate::metrics::{Metrics, ShareMetrics};

/// Requests of one holder that wait for a resource at once.
const MOST_WAITING: usize = 64;
/// Those who have left a line are removed when its length is a multiple of this.
const PRUNED_EVERY: usize = 64;

/// A resource with a total, of which a holder may have as much as remains free besides: alone about half of it, with another
/// holder a third, and so on. So there is room for one more holder, however much the others have.
#[derive(Debug)]
pub struct Share {
    resource: Resource,
    total: u64,
    holders: Mutex<Holders>,
    metrics: ShareMetrics,
}

#[derive(Debug, Default)]
struct Holders {
    used: u64,
    /// Holders without anything are not kept.
    held: HashMap<Arc<str>, u64>,
    /// Those who wait, by holder, the oldest first. A line that everybody has left stays until its turn.
    lines: HashMap<Arc<str>, VecDeque<Waiter>>,
    /// The holders that have a line, in turn.
    turns: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Waiter {
    amount: u64,
    granted: oneshot::Sender<Part>,
}

/// A part of a resource, given back on drop.
#[derive(Debug)]
#[must_use = "dropping the part gives it back at once"]
pub struct Part {
    share: Arc<Share>,
    holder: Arc<str>,
    amount: u64,
}

impl Holders {
    fn held(&self, holder: &str) -> u64 {
        self.held.get(holder).copied().unwrap_or(0)
    }

    /// Returns whether a holder may take an amount: what it has then is no more than was free before.
    fn fits(&self, holder: &str, amount: u64, total: u64) -> bool {
        self.held(holder).saturating_add(amount) <= total.saturating_sub(self.used)
    }

    /// Counts an amount. Returns the name under which the holder is kept.
    fn add(&mut self, holder: &str, amount: u64) -> Arc<str> {
        let name = self.held.get_key_value(holder).map_or_else(|| holder.into(), |(name, _)| name.clone());
        self.add_to(&name, amount);
        name
    }

    fn add_to(&mut self, holder: &Arc<str>, amount: u64) {
        self.used += amount;
        match self.held.get_mut(holder) {
            Some(held) => *held += amount,
            None => drop(self.held.insert(holder.clone(), amount)),
        }
    }

    fn give_back(&mut self, holder: &str, amount: u64) {
        self.used = self.used.saturating_sub(amount);
        if let Some(held) = self.held.get_mut(holder) {
            *held = held.saturating_sub(amount);
            if *held == 0 {
                self.held.remove(holder);
            }
        }
    }

    /// Adds a waiter to the line of its holder.
    fn enqueue(&mut self, holder: &str, waiter: Waiter) {
        if let Some(line) = self.lines.get_mut(holder) {
            line.push_back(waiter);
            return;
        }
        let name: Arc<str> = holder.into();
        self.turns.push_back(name.clone());
        self.lines.insert(name, VecDeque::from([waiter]));
    }

    /// Returns how many wait for a holder. Some of them may have left.
    fn waiting(&mut self, holder: &str) -> usize {
        let Some(line) = self.lines.get_mut(holder) else { return 0 };
        if line.len() % PRUNED_EVERY == 0 {
            line.retain(|waiter| !waiter.granted.is_closed());
        }
        line.len()
    }

    /// Takes the first of a line that finds room. The lines take turns.
    fn next_in_line(&mut self, total: u64) -> Option<(Arc<str>, Waiter)> {
        for _ in 0..self.turns.len() {
            let holder = self.turns.pop_front()?;
            let line = self.lines.get_mut(&holder)?;
            while line.pop_front_if(|waiter| waiter.granted.is_closed()).is_some() {}
            let amount = line.front().map(|waiter| waiter.amount);
            let fits = amount.is_some_and(|amount| self.fits(&holder, amount, total));
            let line = self.lines.get_mut(&holder)?;
            let next = if fits { line.pop_front() } else { None };
            if line.is_empty() {
                self.lines.remove(&holder);
            } else {
                self.turns.push_back(holder.clone());
            }
            if let Some(waiter) = next {
                return Some((holder, waiter));
            }
        }
        None
    }
}

impl Share {
    /// Returns a resource that is all free.
    pub fn new(resource: Resource, total: u64, metrics: &Metrics) -> Self {
        let metrics = metrics.share(resource.info().name, total);
        Self { resource, total, holders: Mutex::default(), metrics }
    }

    /// Returns a resource that is all free and that no metric shows: for a process with one user.
    pub(crate) fn unregistered(resource: Resource, total: u64) -> Self {
        Self::new(resource, total, &Metrics::new(0, []))
    }

    /// Returns the resource.
    pub fn resource(&self) -> Resource {
        self.resource
    }

    /// Returns the most that all holders together may have, in the unit of the resource.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns how much a holder has, and how much it could have at this moment.
    pub fn usage(&self, holder: &str) -> (u64, u64) {
        let holders = self.lock();
        let held = holders.held(holder);
        (held, (held + self.total.saturating_sub(holders.used)).div_ceil(2))
    }

    /// Returns the amount to wait for: at most half of all, because more would not fit as long as anybody else has any.
    pub fn obtainable(&self, amount: u64) -> u64 {
        amount.min((self.total / 2).max(1))
    }

    /// Takes an amount if it fits now.
    ///
    /// # Errors
    /// There is no room for this holder.
    pub fn try_take(self: &Arc<Self>, holder: &str, amount: u64) -> Result<Part, ShareExceeded> {
        let mut holders = self.lock();
        let part = self.grant(&mut holders, holder, amount);
        part.ok_or_else(|| self.refuse(&holders, holder))
    }

    /// Takes an amount whether or not there is room: for what is held in any case.
    pub fn hold(self: &Arc<Self>, holder: &str, amount: u64) -> Part {
        let mut holders = self.lock();
        let holder = holders.add(holder, amount);
        self.metrics.used(holders.used);
        Part { share: self.clone(), holder, amount }
    }

    /// Returns how much all holders have, in the unit of the resource.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Takes an amount if a holder then has no more than `most`, whatever remains for others.
    ///
    /// # Errors
    /// There is no room for this holder.
    pub fn try_take_within(self: &Arc<Self>, holder: &str, amount: u64, most: u64) -> Result<Part, ShareExceeded> {
        let mut holders = self.lock();
        let fits = holders.held(holder).saturating_add(amount) <= most;
        if !fits || holders.used.saturating_add(amount) > self.total {
            return Err(self.refuse(&holders, holder));
        }
        let holder = holders.add(holder, amount);
        self.metrics.used(holders.used);
        Ok(Part { share: self.clone(), holder, amount })
    }

    /// Waits until an amount fits. Requests of one holder are served in their order.
    ///
    /// # Errors
    /// 64 requests of this holder wait already, or the amount is over the total.
    pub async fn take(self: &Arc<Self>, holder: &str, amount: u64) -> Result<Part, ShareExceeded> {
        self.wait(holder, amount, MOST_WAITING).await
    }

    /// As [`Share::take`], for at most this long.
    ///
    /// # Errors
    /// As [`Share::take`]; or it did not fit within the time.
    pub async fn take_in_time(
        self: &Arc<Self>,
        holder: &str,
        amount: u64,
        time: Duration,
    ) -> Result<Part, ShareExceeded> {
        let late = |_| ShareExceeded { resource: self.resource, own: self.lock().held(holder) > 0 };
        timeout(time, self.take(holder, amount)).await.map_err(late)?
    }

    /// As [`Share::take`], however many requests of this holder wait: for work of which another bound lets only so much begin.
    ///
    /// # Errors
    /// The amount is over the total.
    pub async fn take_patiently(self: &Arc<Self>, holder: &str, amount: u64) -> Result<Part, ShareExceeded> {
        self.wait(holder, amount, usize::MAX).await
    }

    async fn wait(self: &Arc<Self>, holder: &str, amount: u64, most_waiting: usize) -> Result<Part, ShareExceeded> {
        let granted = {
            let mut holders = self.lock();
            let own = holders.waiting(holder);
            if own == 0
                && let Some(part) = self.grant(&mut holders, holder, amount)
            {
                return Ok(part);
            }
            if own >= most_waiting || amount > self.total {
                return Err(self.refuse(&holders, holder));
            }
            let (granted, part) = oneshot::channel();
            holders.enqueue(holder, Waiter { amount, granted });
            part
        };
        // The sender is dropped only with the share, which `self` keeps.
        granted.await.map_err(|_| ShareExceeded { resource: self.resource, own: false })
    }

    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grant(self: &Arc<Self>, holders: &mut Holders, holder: &str, amount: u64) -> Option<Part> {
        if !holders.fits(holder, amount, self.total) {
            return None;
        }
        let holder = holders.add(holder, amount);
        self.metrics.used(holders.used);
        Some(Part { share: self.clone(), holder, amount })
    }

    fn refuse(&self, holders: &Holders, holder: &str) -> ShareExceeded {
        self.metrics.refused();
        let own = holders.held(holder) > 0 || holders.lines.contains_key(holder);
        ShareExceeded { resource: self.resource, own }
    }

    fn give_back(self: &Arc<Self>, holder: &str, amount: u64) {
        let mut holders = self.lock();
        holders.give_back(holder, amount);
        // Parts for those who no longer wait are dropped after the lock, which their drop takes.
        let mut unwanted = Vec::new();
        while let Some((holder, waiter)) = holders.next_in_line(self.total) {
            let part = self.grant(&mut holders, &holder, waiter.amount);
            unwanted.extend(part.and_then(|part| waiter.granted.send(part).err()));
        }
        self.metrics.used(holders.used);
        drop(holders);
    }
}

impl Part {
    /// Returns how much it is, in the unit of the resource.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Takes more, if it fits now.
    ///
    /// # Errors
    /// There is no room for this holder. The part stays as it is.
    pub fn grow(&mut self, amount: u64) -> Result<(), ShareExceeded> {
        if amount == 0 {
            return Ok(());
        }
        let share = self.share.clone();
        let mut holders = share.lock();
        if !holders.fits(&self.holder, amount, share.total) {
            return Err(share.refuse(&holders, &self.holder));
        }
        self.add(&mut holders, amount);
        Ok(())
    }

    /// Counts more, whether or not there is room: for what is held in any case.
    pub fn hold(&mut self, amount: u64) {
        let share = self.share.clone();
        self.add(&mut share.lock(), amount);
    }

    fn add(&mut self, holders: &mut Holders, amount: u64) {
        holders.add_to(&self.holder, amount);
        self.share.metrics.used(holders.used);
        self.amount += amount;
    }

    /// Gives some of it back.
    pub fn shrink(&mut self, amount: u64) {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        self.share.give_back(&self.holder, amount);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.share.give_back(&self.holder, self.amount);
    }
}

#[cfg(test)]
mod tests;
