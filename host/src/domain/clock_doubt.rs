//! The doubt whether the machine's clock is right, as one process passes it on to the next.

/// A clock that may be ahead, milliseconds both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockDoubt {
    /// How far it may be ahead.
    pub ahead_ms: i64,
    /// How long a process has to run before it is trusted.
    pub remaining_ms: i64,
}

impl ClockDoubt {
    /// Reads the text of [`ClockDoubt`]'s `Display`; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        let (ahead, remaining) = text.split_once(' ')?;
        Some(Self { ahead_ms: ahead.parse().ok()?, remaining_ms: remaining.parse().ok()? })
    }
}

impl std::fmt::Display for ClockDoubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.ahead_ms, self.remaining_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_is_read_as_it_was_written() {
        let doubt = ClockDoubt { ahead_ms: 7, remaining_ms: 5 };
        assert_eq!(ClockDoubt::parse(&doubt.to_string()), Some(doubt));
        assert_eq!(ClockDoubt::parse("7"), None);
        assert_eq!(ClockDoubt::parse("7 x"), None);
    }
}
