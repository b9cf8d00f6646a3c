//! Exact comparison of JSON numbers (RFC 8259, section 6), in time linear in their text.

use std::cmp::Ordering;

/// Largest exponent of a number in a config, either sign.
const MAX_CONFIG_EXPONENT: i64 = 999_999_999;
/// Exponents beyond this one, either sign, count as this one. A number of a config is far inside, so that it compares exactly
/// with every number.
const MAX_EXPONENT: i64 = 1 << 60;

/// A number: `0.digits` times ten to the power of `exponent`. Nothing is computed, so `1e999999999` costs as much as `1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'t> {
    is_negative: bool,
    /// Without zeros at both ends, perhaps with a decimal point between; empty for zero.
    digits: &'t [u8],
    exponent: i64,
}

impl<'t> Number<'t> {
    /// Reads the text of a JSON number.
    pub(crate) fn of(json: &'t str) -> Self {
        let (is_negative, unsigned) = json.strip_prefix('-').map_or((false, json), |unsigned| (true, unsigned));
        let (mantissa, exponent) = split(unsigned, |byte| matches!(byte, b'e' | b'E'));
        let (whole, fraction) = split(mantissa, |byte| byte == b'.');
        let point = match leading_zeros(whole) {
            zeros if zeros < whole.len() => length(whole.len() - zeros),
            _ => -length(leading_zeros(fraction)),
        };
        let is_digit = |byte: &u8| !matches!(byte, b'0' | b'.');
        let first = mantissa.bytes().position(|byte| is_digit(&byte)).unwrap_or(mantissa.len());
        let end = mantissa.as_bytes().iter().rposition(is_digit).map_or(first, |last| last + 1);
        let digits = mantissa.as_bytes().get(first..end).unwrap_or_default();
        Self { is_negative: is_negative && !digits.is_empty(), digits, exponent: point.saturating_add(power(exponent)) }
    }

    /// Returns whether a config may have this number.
    pub(crate) fn is_fit_for_config(json: &str) -> bool {
        power(split(json, |byte| matches!(byte, b'e' | b'E')).1).abs() <= MAX_CONFIG_EXPONENT
    }

    /// Compares two numbers exactly, if one of them is fit for a config.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        let sizes = || {
            let size = |number: Self| (!number.digits.is_empty()).then_some(number.exponent);
            size(self).cmp(&size(other)).then_with(|| self.significant().cmp(other.significant()))
        };
        match (self.is_negative, other.is_negative) {
            (false, false) => sizes(),
            (true, true) => sizes().reverse(),
            (is_negative, _) => {
                if is_negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }

    fn significant(self) -> impl Iterator<Item = u8> + use<'t> {
        self.digits.iter().copied().filter(|byte| *byte != b'.')
    }
}

/// Splits a text before and after a byte; all of it is before if there is none.
fn split(text: &str, at: fn(u8) -> bool) -> (&str, &str) {
    let position = text.bytes().position(at).unwrap_or(text.len());
    (text.get(..position).unwrap_or_default(), text.get(position + 1..).unwrap_or_default())
}

fn leading_zeros(digits: &str) -> usize {
    digits.bytes().take_while(|byte| *byte == b'0').count()
}

/// Reads the exponent of a JSON number; an empty text is none.
fn power(text: &str) -> i64 {
    if text.is_empty() {
        return 0;
    }
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let size = digits.parse().map_or(MAX_EXPONENT, |size: i64| size.min(MAX_EXPONENT));
    if is_negative { -size } else { size }
}

/// A length as a part of an exponent.
fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(MAX_EXPONENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare(left: &str, right: &str) -> Ordering {
        let (one, other) = (Number::of(left), Number::of(right));
        assert_eq!(one.compare(other), other.compare(one).reverse(), "{left} {right}");
        one.compare(other)
    }

    #[test]
    fn every_spelling_of_a_number_is_equal() {
        for same in [
            vec![
                "1",
                "1.0",
                "1e0",
                "1E+0",
                "10e-1",
                "0.1e1",
                "0.0010e3",
                "100.000e-2",
                "1e-0",
                "1e00000000000000000000000",
            ],
            vec!["0", "-0", "0.0", "-0.0e5", "0e999999999999999999999", "0e-5"],
            vec!["-2.5", "-25e-1", "-0.25E1"],
            vec!["1e400", "10e399", "1000e397", "0.1e401"],
            vec!["18446744073709551615", "18446744073709551615.0", "1.8446744073709551615e19"],
        ] {
            for (one, other) in same.iter().flat_map(|one| same.iter().map(move |other| (one, other))) {
                assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
            }
        }
    }

    #[test]
    fn numbers_that_a_double_cannot_tell_apart_differ() {
        let ascending = [
            "-1e99999999999999999999999999",
            "-1e400",
            "-1.0000000000000000000001",
            "-1",
            "-1e-400",
            "0",
            "1e-99999999999999999999",
            "1e-999999999",
            "1e-400",
            "0.1",
            "0.10000000000000000000001",
            "0.9",
            "1",
            "1.05",
            "1.5",
            "9",
            "10",
            "11.5",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551614",
            "18446744073709551615",
            "18446744073709551615.000001",
            "1e400",
            "1.1e400",
            "1e401",
            "1e999999999",
            "10e999999999",
            "1e99999999999999999999999",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn a_config_has_no_exponent_of_ten_digits() {
        for fit in ["1", "-1.5e999999999", "1E-999999999", "1e+5", "1e0000000000001"] {
            assert!(Number::is_fit_for_config(fit), "{fit}");
        }
        for unfit in ["1e1000000000", "0e-1000000000", "1e99999999999999999999999"] {
            assert!(!Number::is_fit_for_config(unfit), "{unfit}");
        }
    }

    proptest! {
        #[test]
        fn decimals_compare_as_integers_of_the_same_scale(left: i64, right: i64, left_zeros in 0_usize..4, scale in 0_usize..25) {
            // Moves the decimal point by `scale` digits to the left, and takes it back by the exponent.
            let spelt = |number: i64| {
                let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let sign = if number < 0 { "-" } else { "" };
                format!("{sign}{whole}.{fraction}{}e{scale}", "0".repeat(left_zeros + 1))
            };
            prop_assert_eq!(compare(&spelt(left), &right.to_string()), left.cmp(&right));
            prop_assert_eq!(compare(&spelt(left), &spelt(left)), Ordering::Equal);
        }
    }
}
