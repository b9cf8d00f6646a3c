//! The classes of attempts, and a value for each of them.

/// The knowledge about the receiver of an attempt, the best first. It decides how many attempts may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::delivery) enum AttemptClass {
    /// It accepted the last event.
    Healthy,
    /// Nothing good is known of it, and no other attempt to it is in flight.
    Unproven,
    /// It is silent, or it is unproven and an attempt to it is in flight: each may hang until the time-out.
    Restricted,
}

impl AttemptClass {
    /// All classes, in the order in which they are served.
    pub(super) const ALL: [Self; 3] = [Self::Healthy, Self::Unproven, Self::Restricted];

    /// Returns how many attempts of this class may be in flight if `max_attempts` may be in all.
    pub(super) fn limit(self, max_attempts: usize) -> usize {
        match self {
            Self::Healthy => max_attempts,
            Self::Unproven => max_attempts.div_ceil(2),
            Self::Restricted => max_attempts.div_ceil(8),
        }
    }
}

/// One value for each class.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PerClass<T> {
    healthy: T,
    unproven: T,
    restricted: T,
}

impl<T> PerClass<T> {
    /// Returns the value of a class.
    pub(super) fn get(&self, class: AttemptClass) -> &T {
        match class {
            AttemptClass::Healthy => &self.healthy,
            AttemptClass::Unproven => &self.unproven,
            AttemptClass::Restricted => &self.restricted,
        }
    }

    /// Returns the value of a class, to be changed.
    pub(super) fn get_mut(&mut self, class: AttemptClass) -> &mut T {
        match class {
            AttemptClass::Healthy => &mut self.healthy,
            AttemptClass::Unproven => &mut self.unproven,
            AttemptClass::Restricted => &mut self.restricted,
        }
    }

    /// Returns the values in the order of [`AttemptClass::ALL`].
    pub(super) fn all(&self) -> [&T; 3] {
        [&self.healthy, &self.unproven, &self.restricted]
    }
}

/// Attempts in flight.
pub(super) type InFlight = PerClass<usize>;

impl InFlight {
    /// Returns the attempts of all classes together.
    pub(super) fn total(&self) -> usize {
        self.all().into_iter().sum()
    }

    /// Counts an attempt that begins.
    pub(super) fn begin(&mut self, class: AttemptClass) {
        *self.get_mut(class) += 1;
    }

    /// Counts an attempt that has ended.
    pub(super) fn end(&mut self, class: AttemptClass) {
        let count = self.get_mut(class);
        *count = count.saturating_sub(1);
    }
}
