//! Counters of one name whose label values are all known in advance.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Label names and values.
pub(super) type Labels<const L: usize> = [(&'static str, &'static str); L];

/// The name and the help text of a family of counters.
pub(super) struct CounterFamily {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

/// One counter for each key. The counters are looked up once, at the start, so that counting takes no lock; and each is
/// exported from the start, as 0, so that Prometheus sees the first increment as an increase.
#[derive(Debug)]
pub(super) struct LabelledCounters<K>(Vec<(K, Counter)>);

impl<K: Copy + PartialEq> LabelledCounters<K> {
    /// Registers a counter for each key; `labels` returns the labels of a key.
    pub(super) fn register<const L: usize>(
        registry: &mut Registry,
        CounterFamily { name, help }: CounterFamily,
        keys: impl IntoIterator<Item = K>,
        labels: impl Fn(K) -> Labels<L>,
    ) -> Self {
        let family: Family<Labels<L>, Counter> = Family::default();
        let counters = keys.into_iter().map(|key| (key, family.get_or_create_owned(&labels(key)))).collect();
        registry.register(name, help, family);
        Self(counters)
    }

    /// Adds `count` to the counter of `key`; an unknown key is ignored.
    pub(super) fn add(&self, key: K, count: u64) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == key) {
            counter.inc_by(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn every_known_key_is_exported_and_counted_on_its_own() {
        let mut registry = Registry::default();
        let family = CounterFamily { name: "animals", help: "Animals seen" };
        let kind = |key: char| [("kind", if key == 'c' { "cat" } else { "dog" })];
        let counters = LabelledCounters::register(&mut registry, family, ['c', 'd'], kind);
        let before = text(&registry);
        assert!(before.contains("# HELP animals_total Animals seen"), "{before}");
        assert!(
            before.contains("animals_total{kind=\"cat\"} 0\n") && before.contains("animals_total{kind=\"dog\"} 0\n")
        );
        counters.add('c', 2);
        counters.add('d', 1);
        counters.add('c', 3);
        counters.add('x', 7);
        let after = text(&registry);
        assert!(after.contains("animals_total{kind=\"cat\"} 5\n"), "{after}");
        assert!(after.contains("animals_total{kind=\"dog\"} 1\n"), "{after}");
        assert_eq!(after.lines().count(), before.lines().count(), "an unknown key adds no line");
    }
}
