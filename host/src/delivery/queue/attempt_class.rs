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

    /// Returns how many attempts of this class may be in flight if `all` may be in all classes, and likewise their bytes.
    pub(super) fn limit(self, all: usize) -> usize {
        match self {
            Self::Healthy => all,
            Self::Unproven => all.div_ceil(2),
            Self::Restricted => all.div_ceil(8),
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

/// Attempts in flight, or their bytes.
pub(super) type InFlight = PerClass<usize>;

impl InFlight {
    /// Returns those of all classes together.
    pub(super) fn total(&self) -> usize {
        self.all().into_iter().sum()
    }

    /// Counts an attempt that begins, or its bytes.
    pub(super) fn begin(&mut self, class: AttemptClass, amount: usize) {
        *self.get_mut(class) += amount;
    }

    /// Counts an attempt that has ended, or its bytes.
    pub(super) fn end(&mut self, class: AttemptClass, amount: usize) {
        let count = self.get_mut(class);
        *count = count.saturating_sub(amount);
    }
}
