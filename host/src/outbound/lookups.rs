//! The lookups of all companies. A name whose servers never answer occupies a thread for half a minute, long after its attempt
//! has ended: unbounded, the names of one company would occupy all threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::resolve::Resolver;
use crate::shares::{Part, Share};

/// The result of a lookup, for everyone who waits for it.
type Found = Result<Vec<IpAddr>, Arc<io::Error>>;
/// A company and a name.
type Lookup = (String, String);
type RunningLookups = HashMap<Lookup, watch::Receiver<Option<Found>>>;

/// Looks names up. A company has its share of the lookups, and looks each name up once at a time.
#[derive(Clone)]
pub(super) struct Lookups {
    resolver: Arc<dyn Resolver>,
    share: Arc<Share>,
    running: Arc<Mutex<RunningLookups>>,
}

impl Lookups {
    /// Lookups by `resolver`, each of which takes a part of `share`.
    pub(super) fn new(resolver: Arc<dyn Resolver>, share: Arc<Share>) -> Self {
        Self { resolver, share, running: Arc::default() }
    }

    /// Returns all addresses of `name`, the preferred first.
    ///
    /// # Errors
    /// The resolver's.
    pub(super) async fn addresses(&self, company: &str, name: &str) -> Result<Vec<IpAddr>, Arc<io::Error>> {
        let lookup = (company.to_owned(), name.to_owned());
        let mut found = match self.running(&lookup) {
            Some(found) => found,
            None => self.in_turn(lookup).await?,
        };
        match found.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(found)) => found.clone(),
            // Its task has ended without a result.
            Ok(None) | Err(_) => Err(Arc::new(io::Error::other("the resolver failed"))),
        }
    }

    fn running(&self, lookup: &Lookup) -> Option<watch::Receiver<Option<Found>>> {
        lock(&self.running).get(lookup).cloned()
    }

    /// Waits for the company's part of all lookups, and begins the lookup. An attempt each waits here, and a company has its
    /// share of the attempts.
    async fn in_turn(&self, lookup: Lookup) -> Result<watch::Receiver<Option<Found>>, Arc<io::Error>> {
        let part = self.share.take_patiently(&lookup.0, 1).await;
        let part = part.map_err(|exceeded| Arc::new(io::Error::other(exceeded)))?;
        Ok(self.begin(lookup, part))
    }

    /// Begins a lookup, unless another has meanwhile. It keeps its part until the resolver returns, also if nobody waits for it
    /// any more.
    fn begin(&self, lookup: Lookup, part: Part) -> watch::Receiver<Option<Found>> {
        let (sender, found) = watch::channel(None);
        match lock(&self.running).entry(lookup.clone()) {
            Entry::Occupied(running) => return running.get().clone(),
            Entry::Vacant(place) => drop(place.insert(found.clone())),
        }
        let (resolving, running) = (self.resolver.resolve(&lookup.1), self.running.clone());
        tokio::spawn(async move {
            let ended = Running { lookup, running, _part: part };
            let result = resolving.await.map_err(Arc::new);
            drop(ended);
            let _ = sender.send(Some(result));
        });
        found
    }
}

/// A lookup that runs, until it is dropped.
struct Running {
    lookup: Lookup,
    running: Arc<Mutex<RunningLookups>>,
    _part: Part,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.lookup);
    }
}

fn lock(running: &Mutex<RunningLookups>) -> MutexGuard<'_, RunningLookups> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::{mpsc, oneshot};

    use super::super::resolve::ResolveFuture;
    use super::*;
    use crate::shares::Resource;

    type Answer = oneshot::Sender<io::Result<Vec<IpAddr>>>;

    /// Hands each lookup to the test, which answers it.
    struct ByHand(mpsc::UnboundedSender<(String, Answer)>);

    impl Resolver for ByHand {
        fn resolve(&self, name: &str) -> ResolveFuture {
            let (answer, answered) = oneshot::channel();
            self.0.send((name.to_owned(), answer)).unwrap();
            Box::pin(async { answered.await.map_err(io::Error::other)? })
        }
    }

    fn lookups(total: u64) -> (Lookups, mpsc::UnboundedReceiver<(String, Answer)>) {
        let (sender, asked) = mpsc::unbounded_channel();
        let share = Arc::new(Share::unregistered(Resource::DnsLookups, total));
        (Lookups::new(Arc::new(ByHand(sender)), share), asked)
    }

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[tokio::test]
    async fn names_that_never_answer_leave_room_for_the_lookups_of_another_company() {
        let (lookups, mut asked) = lookups(8);
        let names: Vec<_> = (0..100).map(|number| format!("{number}.test")).collect();
        let mut waiting: Vec<_> = names.iter().map(|name| Box::pin(lookups.addresses("many", name))).collect();
        for wait in &mut waiting {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let held: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
        assert_eq!(held.len(), 4, "half of them");
        // Their attempts end; the resolver goes on.
        drop(waiting);
        let mut again = Box::pin(lookups.addresses("many", "again.test"));
        assert!(again.as_mut().now_or_never().is_none());
        let mut other = Box::pin(lookups.addresses("few", "0.test"));
        assert!(other.as_mut().now_or_never().is_none());
        let (name, answer) = asked.try_recv().expect("it does not wait for the other company's");
        assert_eq!(name, "0.test");
        answer.send(Ok(vec![IP])).unwrap();
        assert_eq!(other.await.unwrap(), [IP]);
        assert!(again.as_mut().now_or_never().is_none() && asked.try_recv().is_err());
        drop(held);
        let (answered, ()) = tokio::join!(again, async {
            let (name, answer) = asked.recv().await.unwrap();
            assert_eq!(name, "again.test");
            answer.send(Ok(vec![IP])).unwrap();
        });
        assert_eq!(answered.unwrap(), [IP]);
        assert_eq!((lookups.share.usage("many").0, lookups.share.usage("few").0), (0, 0));
        assert!(lock(&lookups.running).is_empty());
    }

    #[tokio::test]
    async fn one_lookup_serves_everyone_in_the_company_who_waits_for_the_name() {
        let (lookups, mut asked) = lookups(8);
        let mut first = Box::pin(lookups.addresses("acme", "a.test"));
        assert!(first.as_mut().now_or_never().is_none());
        // Its attempt ends before the lookup; the next one waits for the same.
        drop(first);
        let all = futures_util::future::join_all((0..50).map(|_| lookups.addresses("acme", "a.test")));
        let mut all = Box::pin(all);
        assert!(all.as_mut().now_or_never().is_none());
        let (_, answer) = asked.try_recv().unwrap();
        assert!(asked.try_recv().is_err(), "one for all");
        answer.send(Err(io::Error::other("no such name"))).unwrap();
        assert!(all.await.iter().all(|found| found.as_ref().is_err_and(|error| error.to_string() == "no such name")));
        // It is asked again later, and for another company.
        for company in ["acme", "other"] {
            let mut later = Box::pin(lookups.addresses(company, "a.test"));
            assert!(later.as_mut().now_or_never().is_none());
            asked.try_recv().unwrap().1.send(Ok(vec![IP])).unwrap();
            assert_eq!(later.await.unwrap(), [IP], "{company}");
        }
    }

    #[tokio::test]
    async fn resolver_that_fails_gives_its_place_back() {
        struct Broken;
        impl Resolver for Broken {
            fn resolve(&self, _: &str) -> ResolveFuture {
                Box::pin(async { panic!("broken") })
            }
        }
        let share = Arc::new(Share::unregistered(Resource::DnsLookups, 2));
        let lookups = Lookups::new(Arc::new(Broken), share);
        for _ in 0..3 {
            assert_eq!(lookups.addresses("acme", "a.test").await.unwrap_err().to_string(), "the resolver failed");
        }
        assert_eq!(lookups.share.usage("acme").0, 0);
    }
}
