//! What a receiver asks for with the header `webhook-delivery` of its answer, as Svix defines it (Svix documentation, "Delivery
//! Control").

/// The header's name.
pub const DELIVERY_CONTROL_HEADER: &str = "webhook-delivery";

/// What an answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryControl {
    /// This event is not to be sent again.
    Abort,
    /// No event is to be sent any more.
    Disable,
}

impl DeliveryControl {
    /// Returns what the values of the header ask for: of several, the one that ends more. Values without a meaning are ignored.
    pub fn of_values<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Option<Self> {
        values.into_iter().filter_map(Self::parse).max()
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        if is("disable") {
            return Some(Self::Disable);
        }
        // Svix calls it `abort-message`.
        (is("abort") || is("abort-message")).then_some(Self::Abort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Option<DeliveryControl> {
        DeliveryControl::of_values(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn case_and_surrounding_blanks_do_not_matter() {
        for abort in ["abort", "ABORT", " abort\t", "abort-message", "Abort-Message"] {
            assert_eq!(parsed(&[abort]), Some(DeliveryControl::Abort), "{abort:?}");
        }
        for disable in ["disable", "Disable", "  disable "] {
            assert_eq!(parsed(&[disable]), Some(DeliveryControl::Disable), "{disable:?}");
        }
    }

    #[test]
    fn unknown_values_are_ignored_and_disable_outranks_abort() {
        for nothing in ["", "retry", "disabled", "abort, disable", "ab\u{e9}"] {
            assert_eq!(parsed(&[nothing]), None, "{nothing:?}");
        }
        assert_eq!(parsed(&[]), None);
        assert_eq!(parsed(&["abort", "x", "disable", "abort"]), Some(DeliveryControl::Disable));
    }
}
