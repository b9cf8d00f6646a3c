//! Sanitises text from plugins before it is stored or shown: bounds it, and escapes what could forge log lines or control a
//! terminal.

use std::fmt::Write;

/// Returns `text` with control characters escaped, cut on a character boundary to at most `max` bytes.
pub fn printable(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max));
    let mut escaped = String::new();
    for c in text.chars() {
        escaped.clear();
        if is_control(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
        if shown.len() + escaped.len() > max {
            break;
        }
        shown.push_str(&escaped);
    }
    shown
}

/// Returns whether `c` is a control character, one of Unicode's other line breaks, or a mark that reorders text (UAX #9).
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Returns `bytes` as text, in the largest fitting unit of 1,024. Rounded up, so that an amount over a limit never reads as
/// the limit itself.
pub(super) fn size(bytes: usize) -> String {
    let (unit, name) = match bytes {
        0..=0x3ff => return format!("{bytes} bytes"),
        0x400..=0xf_ffff => (1 << 10, "KiB"),
        _ => (1 << 20, "MiB"),
    };
    let (whole, tenths) = (bytes / unit, (bytes % unit * 10).div_ceil(unit));
    let (whole, tenths) = (whole + tenths / 10, tenths % 10);
    let mut text = whole.to_string();
    if tenths > 0 {
        let _ = write!(text, ".{tenths}");
    }
    text + " " + name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_and_control_characters_are_escaped() {
        assert_eq!(printable("a\n2024 forged\r\u{1b}[31mred\u{9b}\0", 99), r"a\n2024 forged\r\u{1b}[31mred\u{9b}\u{0}");
        assert_eq!(printable("x\u{2028}y\u{202e}z", 99), r"x\u{2028}y\u{202e}z");
        assert_eq!(printable("straße 😀", 99), "straße 😀");
    }

    #[test]
    fn text_is_cut_on_a_character_boundary_and_never_inside_an_escape() {
        assert_eq!(printable("ab😀", 5), "ab");
        assert_eq!(printable("ab😀", 6), "ab😀");
        assert_eq!(printable("ab\n", 3), "ab");
    }

    #[test]
    fn sizes_are_rounded_up_in_the_largest_fitting_unit() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024), "1 KiB");
        assert_eq!(size(64 << 20), "64 MiB");
        assert_eq!(size((64 << 20) + 1), "64.1 MiB");
        assert_eq!(size((1 << 20) - 1), "1024 KiB");
        assert_eq!(size(3 << 19), "1.5 MiB");
    }
}
