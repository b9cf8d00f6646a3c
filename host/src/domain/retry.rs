//! When a failed delivery is attempted again.

use std::time::Duration;

/// The waits between attempts: n waits make n+1 attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// Most waits in a schedule: what an operator could mean, and a bound for what is stored per delivery.
pub const MAX_WAITS: usize = 100;
/// Longest single wait.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

impl Schedule {
    /// A schedule of these waits.
    ///
    /// # Errors
    /// More than [`MAX_WAITS`] waits, or one over seven days.
    pub fn new(waits: Vec<Duration>) -> Result<Self, String> {
        if waits.len() > MAX_WAITS {
            return Err(format!("{} waits; a retry schedule has at most {MAX_WAITS}", waits.len()));
        }
        if let Some(long) = waits.iter().find(|wait| **wait > MAX_WAIT) {
            return Err(format!("a wait of {} s; the longest is seven days", long.as_secs()));
        }
        Ok(Self(waits))
    }

    /// The wait after attempt `attempt` (the first is 1) has failed; `None` when it was the last.
    /// `unit` in `[0, 1)` is the random number that spreads it ±10 %.
    pub fn wait_after(&self, attempt: u32, unit: f64) -> Option<Duration> {
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        let factor = 0.9 + 0.2 * unit.clamp(0.0, 1.0);
        self.0.get(index).map(|wait| wait.mul_f64(factor))
    }

    /// How many attempts a delivery gets.
    pub fn attempts(&self) -> usize {
        self.0.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_waits_make_n_plus_one_attempts_with_jitter_of_a_tenth() {
        let schedule = Schedule::new(vec![Duration::from_secs(5), Duration::from_secs(100)]).unwrap();
        assert_eq!(schedule.attempts(), 3);
        assert_eq!(schedule.wait_after(1, 0.5), Some(Duration::from_secs(5)));
        assert_eq!(schedule.wait_after(2, 0.0), Some(Duration::from_secs(90)));
        assert!(schedule.wait_after(2, 0.999_999).unwrap() <= Duration::from_secs(110));
        assert_eq!(schedule.wait_after(3, 0.5), None);
        assert_eq!(schedule.wait_after(0, 0.5), None);
    }

    #[test]
    fn absurd_schedules_are_refused() {
        assert!(Schedule::new(vec![Duration::from_secs(1); 101]).is_err());
        assert!(Schedule::new(vec![Duration::MAX]).is_err());
    }
}
