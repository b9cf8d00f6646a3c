//! Idle connections, for the next request to the same receiver.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connect::Connection;
use super::target::Target;
use super::tls::TrustId;

/// Closes an idle connection before common servers and firewalls drop it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Interval at which idle connections are checked against [`IDLE_TIMEOUT`].
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The bounds of the idle connections.
#[derive(Debug, Clone, Copy)]
pub struct IdleLimits {
    /// Most idle connections to one receiver.
    pub per_origin: usize,
    /// Most idle connections in all: each holds an open file.
    pub total: usize,
    /// The age at which a connection serves no further request, so that a receiver that moves to another address is found
    /// there, also under steady traffic.
    pub max_age: Duration,
}

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
}

/// The idle connections of all receivers.
struct Shelf<C> {
    limits: IdleLimits,
    next_number: u64,
    /// The oldest idle one of each origin first.
    by_origin: HashMap<Origin, VecDeque<IdleConnection<C>>>,
    /// All of them, in the order in which they became idle.
    by_number: BTreeMap<u64, Origin>,
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
    fn new(limits: IdleLimits) -> Self {
        Self { limits, next_number: 0, by_origin: HashMap::new(), by_number: BTreeMap::new(), swept: false }
    }

    /// Takes the connection that became idle last, if one is usable at `now`.
    fn take(&mut self, origin: &Origin, now: Instant) -> Option<C> {
        let idle = self.by_origin.get_mut(origin)?;
        let usable = std::iter::from_fn(|| idle.pop_back())
            .inspect(|last| drop(self.by_number.remove(&last.number)))
            .map(|last| last.connection)
            .find(|last| now.duration_since(last.opened_at()) < self.limits.max_age && !last.is_closed());
        if idle.is_empty() {
            self.by_origin.remove(origin);
        }
        usable
    }

    /// Keeps a connection that is idle from `now` on, in place of the one that has been idle longest if there is no room.
    fn put(&mut self, origin: Origin, connection: C, now: Instant) {
        let too_old = now.duration_since(connection.opened_at()) >= self.limits.max_age;
        if too_old || connection.is_closed() || self.limits.total == 0 || self.limits.per_origin == 0 {
            return;
        }
        let idle = self.by_origin.entry(origin.clone()).or_default();
        if idle.len() >= self.limits.per_origin
            && let Some(oldest) = idle.pop_front()
        {
            self.by_number.remove(&oldest.number);
        }
        let number = self.next_number;
        self.next_number += 1;
        idle.push_back(IdleConnection { number, idle_since: now, connection });
        self.by_number.insert(number, origin);
        if self.by_number.len() > self.limits.total {
            self.drop_oldest();
        }
    }

    /// Closes those that have been idle too long. Returns whether any are left.
    fn expire(&mut self, now: Instant) -> bool {
        while let Some((_, origin)) = self.by_number.first_key_value()
            && let Some(oldest) = self.by_origin.get(origin).and_then(VecDeque::front)
            && now.duration_since(oldest.idle_since) >= IDLE_TIMEOUT.min(self.limits.max_age)
        {
            self.drop_oldest();
        }
        !self.by_number.is_empty()
    }

    fn drop_oldest(&mut self) {
        let Some((_, origin)) = self.by_number.pop_first() else { return };
        if let Some(idle) = self.by_origin.get_mut(&origin) {
            idle.pop_front();
            if idle.is_empty() {
                self.by_origin.remove(&origin);
            }
        }
    }

    fn remove(&mut self, origin: &Origin) {
        for idle in self.by_origin.remove(origin).into_iter().flatten() {
            self.by_number.remove(&idle.number);
        }
    }
}

/// The pool of idle connections.
pub(super) struct IdlePool(Arc<Mutex<Shelf<Connection>>>);

impl IdlePool {
    /// Returns an empty pool.
    pub(super) fn new(limits: IdleLimits) -> Self {
        Self(Arc::new(Mutex::new(Shelf::new(limits))))
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

    fn shelf(per_origin: usize, total: usize) -> Shelf<Named> {
        Shelf::new(IdleLimits { per_origin, total, max_age: Duration::from_secs(60) })
    }

    fn names(shelf: &mut Shelf<Named>, host: &str, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| shelf.take(&origin(host), now)).map(|connection| connection.0).collect()
    }

    #[test]
    fn connection_that_became_idle_last_is_taken_first_by_its_own_origin() {
        let (mut shelf, now) = (shelf(8, 8), Instant::now());
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
        assert!(shelf.by_origin.is_empty() && shelf.by_number.is_empty());
    }

    #[test]
    fn longest_idle_connection_leaves_when_there_is_no_room() {
        let (mut shelf, now) = (shelf(2, 3), Instant::now());
        let named = |name| Named(name, now, Rc::default());
        for (host, name) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2")] {
            shelf.put(origin(host), named(name), now);
        }
        assert_eq!(shelf.by_number.len(), 3);
        assert_eq!((names(&mut shelf, "a", now), names(&mut shelf, "b", now)), (vec!["a3"], vec!["b2", "b1"]));
    }

    #[test]
    fn old_and_closed_connections_serve_no_request() {
        let (mut shelf, opened) = (shelf(8, 8), Instant::now());
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
        assert!(shelf.by_origin.is_empty() && shelf.by_number.is_empty());
    }

    #[test]
    fn connections_expire_in_the_order_in_which_they_became_idle() {
        let (mut shelf, start) = (shelf(8, 8), Instant::now());
        let second = start + Duration::from_secs(30);
        shelf.put(origin("a"), Named("a1", start, Rc::default()), start);
        shelf.put(origin("b"), Named("b1", second, Rc::default()), second);
        shelf.put(origin("a"), Named("a2", second, Rc::default()), second);
        assert!(shelf.expire(start + Duration::from_secs(59)) && shelf.by_number.len() == 3);
        assert!(shelf.expire(start + Duration::from_secs(60)) && shelf.by_number.len() == 2);
        shelf.remove(&origin("b"));
        assert_eq!(shelf.by_number.len(), 1);
        assert!(!shelf.expire(second + Duration::from_secs(60)) && shelf.by_origin.is_empty());
    }
}
