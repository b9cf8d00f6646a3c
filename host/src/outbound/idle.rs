//! Idle connections, for the next request to the same receiver.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connect::Connection;
use super::target::Target;
use super::tls::TrustId;
use crate::shares::{Part, Share};

/// Closes an idle connection before common servers and firewalls drop it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Interval at which idle connections are checked against [`IDLE_TIMEOUT`].
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Most idle connections of a company to one receiver.
const PER_ORIGIN: usize = 128;

/// The other end of a connection, the company that uses it and what it trusts: requests to the same origin may share one.
/// Companies share none, so that none can close or use up the connections of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    company: String,
    /// `None`: without TLS.
    trust: Option<TrustId>,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of connections of the company to the target; `trust` is what those with TLS trust.
    pub(super) fn of(company: &str, target: &Target, trust: Option<TrustId>) -> Self {
        let (host, port) = (target.host().to_owned(), target.transport().port);
        Self { company: company.to_owned(), trust, host, port }
    }
}

struct IdleConnection<C> {
    /// Rises with each connection that becomes idle.
    number: u64,
    idle_since: Instant,
    connection: C,
    /// Its place among the idle connections of all companies.
    part: Part,
}

/// The idle connections of all receivers.
struct Shelf<C> {
    share: Arc<Share>,
    per_origin: usize,
    /// The age at which a connection serves no further request, so that a receiver that moves to another address is found
    /// there, also under steady traffic.
    max_age: Duration,
    next_number: u64,
    /// The oldest idle one of each origin first.
    by_origin: HashMap<Origin, VecDeque<IdleConnection<C>>>,
    /// The origins of those of each company, in the order in which they became idle.
    by_company: HashMap<String, BTreeMap<u64, Origin>>,
    /// The task that closes them after [`IDLE_TIMEOUT`] runs.
    swept: bool,
}

/// A connection as the shelf sees it.
trait Kept {
    fn opened_at(&self) -> Instant;
    /// Returns whether the other end has closed it.
    fn is_closed(&self) -> bool;
}

impl Kept for Connection {
    fn opened_at(&self) -> Instant {
        self.opened_at
    }

    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<C: Kept> Shelf<C> {
    fn new(share: Arc<Share>, per_origin: usize, max_age: Duration) -> Self {
        let (by_origin, by_company) = (HashMap::new(), HashMap::new());
        Self { share, per_origin, max_age, next_number: 0, by_origin, by_company, swept: false }
    }

    /// Takes the connection that became idle last, if one is usable at `now`.
    fn take(&mut self, origin: &Origin, now: Instant) -> Option<C> {
        while let Some(idle) = self.remove_from(origin, VecDeque::pop_back) {
            let connection = idle.connection;
            if now.duration_since(connection.opened_at()) < self.max_age && !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection that is idle from `now` on, if its company has room for it or an older one to close.
    fn put(&mut self, origin: Origin, connection: C, now: Instant) {
        let too_old = now.duration_since(connection.opened_at()) >= self.max_age;
        if too_old || connection.is_closed() {
            return;
        }
        if self.by_origin.get(&origin).is_some_and(|idle| idle.len() >= self.per_origin) {
            self.remove_from(&origin, VecDeque::pop_front);
        }
        let Some(part) = self.room_for(&origin.company) else { return };
        let number = self.next_number;
        self.next_number += 1;
        match self.by_company.get_mut(&origin.company) {
            Some(own) => drop(own.insert(number, origin.clone())),
            None => drop(self.by_company.insert(origin.company.clone(), BTreeMap::from([(number, origin.clone())]))),
        }
        let idle = IdleConnection { number, idle_since: now, connection, part };
        self.by_origin.entry(origin).or_default().push_back(idle);
    }

    /// Returns a place for a connection of the company. One that has its share closes its own that has been idle longest. For
    /// one without any, the company that has most closes one.
    fn room_for(&mut self, company: &str) -> Option<Part> {
        if let Ok(part) = self.share.try_take(company, 1) {
            return Some(part);
        }
        if self.by_company.contains_key(company) {
            return self.remove_oldest(company).map(|oldest| oldest.part);
        }
        let oldest = |own: &BTreeMap<u64, Origin>| Reverse(own.keys().next().copied());
        let most = self.by_company.iter().max_by_key(|(_, own)| (own.len(), oldest(own)))?.0.clone();
        drop(self.remove_oldest(&most));
        self.share.try_take(company, 1).ok()
    }

    /// Closes those that have been idle too long. Returns whether any are left.
    fn expire(&mut self, now: Instant) -> bool {
        let longest = IDLE_TIMEOUT.min(self.max_age);
        let companies: Vec<_> = self.by_company.keys().cloned().collect();
        for company in companies {
            while self.oldest_of(&company).is_some_and(|oldest| now.duration_since(oldest.idle_since) >= longest) {
                self.remove_oldest(&company);
            }
        }
        !self.by_company.is_empty()
    }

    fn oldest_of(&self, company: &str) -> Option<&IdleConnection<C>> {
        let (_, origin) = self.by_company.get(company)?.first_key_value()?;
        self.by_origin.get(origin)?.front()
    }

    fn remove_oldest(&mut self, company: &str) -> Option<IdleConnection<C>> {
        let origin = self.by_company.get(company)?.first_key_value()?.1.clone();
        self.remove_from(&origin, VecDeque::pop_front)
    }

    /// Removes the connection that `which` takes from those of the origin.
    fn remove_from(
        &mut self,
        origin: &Origin,
        which: impl FnOnce(&mut VecDeque<IdleConnection<C>>) -> Option<IdleConnection<C>>,
    ) -> Option<IdleConnection<C>> {
        let idle = self.by_origin.get_mut(origin)?;
        let removed = which(idle);
        if idle.is_empty() {
            self.by_origin.remove(origin);
        }
        let removed = removed?;
        if let Some(own) = self.by_company.get_mut(&origin.company) {
            own.remove(&removed.number);
            if own.is_empty() {
                self.by_company.remove(&origin.company);
            }
        }
        Some(removed)
    }

    fn remove(&mut self, origin: &Origin) {
        while self.remove_from(origin, VecDeque::pop_front).is_some() {}
    }
}

/// The pool of idle connections.
pub(super) struct IdlePool(Arc<Mutex<Shelf<Connection>>>);

impl IdlePool {
    /// Returns an empty pool, whose connections take their places from `share` and serve requests up to `max_age`.
    pub(super) fn new(share: Arc<Share>, max_age: Duration) -> Self {
        Self(Arc::new(Mutex::new(Shelf::new(share, PER_ORIGIN, max_age))))
    }

    /// Takes an idle connection.
    pub(super) fn take(&self, origin: &Origin) -> Option<Connection> {
        lock(&self.0).take(origin, Instant::now())
    }

    /// Keeps a connection that can serve another request.
    pub(super) fn put(&self, origin: Origin, connection: Connection) {
        let mut shelf = lock(&self.0);
        shelf.put(origin, connection, Instant::now());
        if !std::mem::replace(&mut shelf.swept, true) {
            tokio::spawn(sweep(self.0.clone()));
        }
    }

    /// Closes idle connections.
    pub(super) fn close(&self, origin: &Origin) {
        lock(&self.0).remove(origin);
    }
}

/// Closes connections that have been idle too long, until none are left.
async fn sweep(shelf: Arc<Mutex<Shelf<Connection>>>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let mut shelf = lock(&shelf);
        if !shelf.expire(Instant::now()) {
            shelf.swept = false;
            return;
        }
    }
}

fn lock(shelf: &Mutex<Shelf<Connection>>) -> MutexGuard<'_, Shelf<Connection>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::domain::plugin::Digest;
    use crate::shares::Resource;

    /// A connection with a name.
    #[derive(Debug, Clone)]
    struct Named(&'static str, Instant, Rc<Cell<bool>>);

    impl Kept for Named {
        fn opened_at(&self) -> Instant {
            self.1
        }

        fn is_closed(&self) -> bool {
            self.2.get()
        }
    }

    fn origin(host: &str) -> Origin {
        Origin { company: "acme".into(), trust: Some(TrustId::System(0)), host: host.into(), port: 443 }
    }

    fn shelf(per_origin: usize, total: u64) -> Shelf<Named> {
        let share = Share::unregistered(Resource::IdleConnections, total);
        Shelf::new(Arc::new(share), per_origin, Duration::from_secs(60))
    }

    fn names(shelf: &mut Shelf<Named>, host: &str, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| shelf.take(&origin(host), now)).map(|connection| connection.0).collect()
    }

    fn count(shelf: &Shelf<Named>) -> usize {
        shelf.by_company.values().map(BTreeMap::len).sum()
    }

    /// Whether it holds nothing, and no place.
    fn is_empty(shelf: &Shelf<Named>) -> bool {
        shelf.by_origin.is_empty() && shelf.by_company.is_empty() && shelf.share.usage("acme").0 == 0
    }

    #[test]
    fn connection_that_became_idle_last_is_taken_first_by_its_own_origin() {
        let (mut shelf, now) = (shelf(8, 16), Instant::now());
        let named = |name| Named(name, now, Rc::default());
        for (host, name) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
            shelf.put(origin(host), named(name), now);
        }
        let other_port = Origin { port: 8443, ..origin("a") };
        let plain = Origin { trust: None, ..origin("a") };
        let other_trust = Origin { trust: Some(TrustId::System(1)), ..origin("a") };
        let own_trust = Origin { trust: Some(TrustId::Webhook(Digest::of(b"ca"))), ..origin("a") };
        let other_company = Origin { company: "other".into(), ..origin("a") };
        let others = [other_port, plain, other_trust, own_trust, other_company];
        assert!(others.iter().all(|other| shelf.take(other, now).is_none()));
        assert_eq!((names(&mut shelf, "a", now), names(&mut shelf, "b", now)), (vec!["a2", "a1"], vec!["b1"]));
        assert!(is_empty(&shelf));
    }

    #[test]
    fn longest_idle_connection_leaves_when_there_is_no_room() {
        let (mut shelf, now) = (shelf(2, 6), Instant::now());
        let named = |name| Named(name, now, Rc::default());
        for (host, name) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2")] {
            shelf.put(origin(host), named(name), now);
        }
        assert_eq!(count(&shelf), 3);
        assert_eq!((names(&mut shelf, "a", now), names(&mut shelf, "b", now)), (vec!["a3"], vec!["b2", "b1"]));
    }

    #[test]
    fn old_and_closed_connections_serve_no_request() {
        let (mut shelf, opened) = (shelf(8, 16), Instant::now());
        let (open, closes) = (Rc::<Cell<bool>>::default(), Rc::<Cell<bool>>::default());
        let later = opened + Duration::from_secs(59);
        shelf.put(origin("a"), Named("young", later, open.clone()), later);
        shelf.put(origin("a"), Named("closes", later, closes.clone()), later);
        shelf.put(origin("a"), Named("old", opened, open.clone()), later);
        closes.set(true);
        let now = opened + Duration::from_secs(60);
        shelf.put(origin("a"), Named("too old", opened, open.clone()), now);
        shelf.put(origin("a"), Named("closed", now, closes), now);
        assert_eq!(names(&mut shelf, "a", now), ["young"]);
        assert!(is_empty(&shelf));
    }

    #[test]
    fn connections_expire_in_the_order_in_which_they_became_idle() {
        let (mut shelf, start) = (shelf(8, 16), Instant::now());
        let second = start + Duration::from_secs(30);
        shelf.put(origin("a"), Named("a1", start, Rc::default()), start);
        shelf.put(origin("b"), Named("b1", second, Rc::default()), second);
        shelf.put(origin("a"), Named("a2", second, Rc::default()), second);
        assert!(shelf.expire(start + Duration::from_secs(59)) && count(&shelf) == 3);
        assert!(shelf.expire(start + Duration::from_secs(60)) && count(&shelf) == 2);
        shelf.remove(&origin("b"));
        assert_eq!(count(&shelf), 1);
        assert!(!shelf.expire(second + Duration::from_secs(60)) && is_empty(&shelf));
    }

    fn of_company(company: &str, host: &str) -> Origin {
        Origin { company: company.into(), ..origin(host) }
    }

    #[test]
    fn company_closes_its_own_connection_when_it_has_its_share_and_another_finds_room() {
        let (mut shelf, now) = (shelf(8, 8), Instant::now());
        let named = |name| Named(name, now, Rc::default());
        for (host, name) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("f", "6")] {
            shelf.put(of_company("many", host), named(name), now);
        }
        assert_eq!(count(&shelf), 4, "half of all");
        assert!(shelf.take(&of_company("many", "b"), now).is_none(), "the one that was idle for longest left");
        for (host, name) in [("a", "7"), ("b", "8"), ("c", "9")] {
            shelf.put(of_company("few", host), named(name), now);
        }
        assert!(shelf.take(&of_company("few", "a"), now).is_none(), "its share was two");
        for (company, host) in [("few", "b"), ("few", "c"), ("many", "c"), ("many", "d"), ("many", "e"), ("many", "f")]
        {
            assert!(shelf.take(&of_company(company, host), now).is_some(), "{company} {host}");
        }
    }

    #[test]
    fn company_that_has_most_makes_room_for_one_without_any() {
        let (mut shelf, now) = (shelf(8, 4), Instant::now());
        let named = |name| Named(name, now, Rc::default());
        for (company, host) in [("one", "a"), ("most", "a"), ("most", "b"), ("two", "a")] {
            shelf.put(of_company(company, host), named("kept"), now);
        }
        assert_eq!((count(&shelf), shelf.share.usage("new")), (4, (0, 0)));
        shelf.put(of_company("new", "a"), named("new"), now);
        assert_eq!(count(&shelf), 4);
        assert!(shelf.take(&of_company("most", "a"), now).is_none(), "the oldest of the company that had two");
        for company in ["one", "two", "new"] {
            assert!(shelf.take(&of_company(company, "a"), now).is_some(), "{company}");
        }
    }
}
