//! Counters of one name whose label values are all known beforehand.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Label names and values.
pub(super) type Labels<const L: usize> = [(&'static str, &'static str); L];

/// One counter for each key. They are looked up once, at the start, so that counting takes no lock; and each is shown
/// from the start, as 0, so that the first increase is one.
#[derive(Debug)]
pub(super) struct Known<K>(Vec<(K, Counter)>);

impl<K: Copy + PartialEq> Known<K> {
    /// Registers them; `labels` gives the labels of each key.
    pub(super) fn register<const L: usize>(
        registry: &mut Registry,
        (name, help): (&str, &str),
        keys: impl IntoIterator<Item = K>,
        labels: impl Fn(K) -> Labels<L>,
    ) -> Self {
        let family: Family<Labels<L>, Counter> = Family::default();
        let counters = keys.into_iter().map(|key| (key, family.get_or_create_owned(&labels(key)))).collect();
        registry.register(name, help, family);
        Self(counters)
    }

    /// Counts; an unknown key is ignored.
    pub(super) fn add(&self, key: K, count: u64) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == key) {
            counter.inc_by(count);
        }
    }
}
