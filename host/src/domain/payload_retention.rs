//! How long the data of an event is kept for a webhook.

/// How long the log keeps the data of an event that a webhook receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadRetention {
    /// As long as the event itself.
    #[default]
    AsEvent,
    /// Until the delivery has ended, unless it failed.
    UntilDelivered,
}

impl PayloadRetention {
    /// Returns the name that the API gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsEvent => "retention",
            Self::UntilDelivered => "until_delivered",
        }
    }

    /// Returns the one with that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::AsEvent, Self::UntilDelivered].into_iter().find(|retention| retention.name() == name)
    }
}
