//! Identifiers: a prefix that says what it names, then a UUIDv7 (RFC 9562 §5.7).
//!
//! Within one process they ascend strictly, so that sorting by id is sorting by creation.

use std::sync::Mutex;

use uuid::{ContextV7, Timestamp, Uuid};

/// Makes identifiers from a clock reading.
#[derive(Debug)]
pub struct Ids(Mutex<ContextV7>);

impl Default for Ids {
    fn default() -> Self {
        Self(Mutex::new(ContextV7::new()))
    }
}

impl Ids {
    /// The next identifier, for example `evt_0198c0…`; `now_ms` is milliseconds since 1970.
    pub fn next(&self, prefix: &str, now_ms: i64) -> String {
        let ms = u64::try_from(now_ms).unwrap_or(0);
        let nanos = u32::try_from(ms % 1000).unwrap_or(0).saturating_mul(1_000_000);
        let context = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let uuid = Uuid::new_v7(Timestamp::from_unix(&*context, ms / 1000, nanos));
        format!("{prefix}_{}", uuid.simple())
    }
}

/// When an identifier was made: milliseconds since 1970, from its first 48 bits. `None`: it is not one of ours.
pub fn made_at(id: &str) -> Option<i64> {
    let (_, uuid) = id.split_once('_')?;
    i64::from_str_radix(uuid.get(..12)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_tells_when_it_was_made() {
        assert_eq!(made_at(&Ids::default().next("dlv", 1_700_000_000_123)), Some(1_700_000_000_123));
        for foreign in ["", "dlv", "dlv_", "dlv_018bcfe5", "dlv_xxxxxxxxxxxx", "dlv_éééééé"] {
            assert_eq!(made_at(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn ascend_within_one_millisecond_and_when_the_clock_steps_back() {
        let ids = Ids::default();
        let mut made: Vec<String> = (0..2000).map(|_| ids.next("evt", 1_700_000_000_123)).collect();
        made.extend((0..100).map(|_| ids.next("evt", 1_700_000_000_100)));
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(made[0].starts_with("evt_018bcfe5"), "{}", made[0]);
    }
}
