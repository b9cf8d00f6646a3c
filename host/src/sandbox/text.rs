//! Text from plugins, made fit to be stored and shown: bounded, and unable to forge lines or steer a terminal.

use std::fmt::Write;

/// `text` with control characters escaped, cut on a character boundary to at most `max` bytes.
pub fn printable(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max));
    let mut escaped = String::new();
    for c in text.chars() {
        escaped.clear();
        if steers(c) {
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

/// Control characters, the other line breaks of Unicode, and the marks that reorder text (UAX #9).
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// `bytes` for people, in the largest unit of 1,024 that fits. Rounded up, so that what is over a limit never reads
/// as the limit.
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
    fn nothing_forges_lines_or_colours() {
        assert_eq!(printable("a\n2024 forged\r\u{1b}[31mred\u{9b}\0", 99), r"a\n2024 forged\r\u{1b}[31mred\u{9b}\u{0}");
        assert_eq!(printable("x\u{2028}y\u{202e}z", 99), r"x\u{2028}y\u{202e}z");
        assert_eq!(printable("straße 😀", 99), "straße 😀");
    }

    #[test]
    fn cut_on_a_boundary_and_never_inside_an_escape() {
        assert_eq!(printable("ab😀", 5), "ab");
        assert_eq!(printable("ab😀", 6), "ab😀");
        assert_eq!(printable("ab\n", 3), "ab");
    }

    #[test]
    fn sizes() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024), "1 KiB");
        assert_eq!(size(64 << 20), "64 MiB");
        assert_eq!(size((64 << 20) + 1), "64.1 MiB");
        assert_eq!(size((1 << 20) - 1), "1024 KiB");
        assert_eq!(size(3 << 19), "1.5 MiB");
    }
}
