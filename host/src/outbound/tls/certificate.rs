//! The parts of a certificate (RFC 5280 §4.1) that webpki does not show: its dates, and the names of subject and issuer.

use crate::domain::time::parse_rfc3339;

/// Most characters of a name in an error text.
const MAX_NAME_CHARS: usize = 64;

// Tags of X.690 §8.1.2.
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The attribute `commonName` (2.5.4.3).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// The attribute `organizationName` (2.5.4.10).
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The parts of one certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct CertificateParts<'a> {
    /// DER, without the outermost tag.
    pub(super) issuer: &'a [u8],
    /// As `issuer`.
    pub(super) subject: &'a [u8],
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970.
    pub(super) not_after: i64,
}

impl<'a> CertificateParts<'a> {
    /// Reads a certificate in DER; `None` if it is malformed.
    pub(super) fn of(der: &'a [u8]) -> Option<Self> {
        let mut signed = Reader(Reader(der).read(SEQUENCE)?);
        let mut fields = Reader(signed.read(SEQUENCE)?);
        // Absent in version 1.
        let _ = fields.read(VERSION);
        let (_serial, _algorithm) = (fields.read(INTEGER)?, fields.read(SEQUENCE)?);
        let issuer = fields.read(SEQUENCE)?;
        let mut validity = Reader(fields.read(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        Some(Self { issuer, subject: fields.read(SEQUENCE)?, not_before, not_after })
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// Returns the common name in a distinguished name, or else its organisation, in a form that can be shown.
pub(super) fn shown_name(name: &[u8]) -> String {
    let value = attribute(name, COMMON_NAME).or_else(|| attribute(name, ORGANIZATION));
    value.filter(|value| !value.is_empty()).map_or_else(|| "an authority without a name".into(), |value| clip(&value))
}

/// Returns a text of the other side in a form that can be shown: short, and without control characters.
pub(super) fn clip(text: &str) -> String {
    let printable = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    let mut clipped: String = text.chars().take(MAX_NAME_CHARS).map(printable).collect();
    if text.chars().nth(MAX_NAME_CHARS).is_some() {
        clipped.push('…');
    }
    clipped
}

/// Returns the value of the last attribute of this type: the most specific one (RFC 4514 §2.1).
fn attribute(name: &[u8], wanted: &[u8]) -> Option<String> {
    let (mut sets, mut found) = (Reader(name), None);
    while let Some(set) = sets.read(SET) {
        let mut attributes = Reader(set);
        while let Some(attribute) = attributes.read(SEQUENCE) {
            let mut parts = Reader(attribute);
            if parts.read(OBJECT_IDENTIFIER) == Some(wanted)
                && let Some((tag, value)) = parts.any()
            {
                found = Some(text(tag, value));
            }
        }
    }
    found
}

fn text(tag: u8, value: &[u8]) -> String {
    if tag != BMP_STRING {
        return String::from_utf8_lossy(value).into_owned();
    }
    let (units, _) = value.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
    char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Reads values in DER (X.690) one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Returns the contents of the next value if it has this tag; otherwise the reader stays where it is.
    fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.any().map(|(_, contents)| contents) } else { None }
    }

    /// Returns tag and contents of the next value. DER has no indefinite lengths.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let ([tag, length], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }

    /// Returns the next time, in seconds since 1970 (RFC 5280 §4.1.2.5).
    fn time(&mut self) -> Option<i64> {
        let (tag, contents) = self.any()?;
        let text = std::str::from_utf8(contents).ok().filter(|text| text.is_ascii())?;
        let text = match tag {
            UTC_TIME if text < "50" => format!("20{text}"),
            UTC_TIME => format!("19{text}"),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        let part = |from, to| text.get(from..to);
        let (date, time) = ((part(0, 4)?, part(4, 6)?, part(6, 8)?), (part(8, 10)?, part(10, 12)?, part(12, 14)?));
        let instant = format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, date.2, time.0, time.1, time.2);
        (part(14, text.len())? == "Z").then(|| parse_rfc3339(&instant))?.map(|ms| ms / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn dates_and_names_are_read() {
        let ca = samples::authority("Acme Internal CA");
        let parts = CertificateParts::of(ca.der()).unwrap();
        assert!(parts.is_self_issued());
        assert_eq!(shown_name(parts.subject), "Acme Internal CA");
        let leaf = samples::signed(samples::for_names(&["a.test"]), &ca);
        let parts = CertificateParts::of(leaf.der()).unwrap();
        assert!(!parts.is_self_issued());
        let seconds = |text| parse_rfc3339(text).unwrap() / 1000;
        let dates = (seconds("2000-01-01T00:00:00Z"), seconds("2999-01-01T00:00:00Z"));
        assert_eq!((parts.not_before, parts.not_after), dates);
        assert_eq!(shown_name(parts.issuer), "Acme Internal CA");
    }

    #[test]
    fn no_part_of_a_certificate_makes_it_fail() {
        let ca = samples::authority("Acme");
        for end in 0..ca.der().len() {
            assert!(CertificateParts::of(&ca.der()[..end]).is_none(), "{end} bytes");
            let mut changed = ca.der().to_vec();
            changed[end] ^= 0xff;
            if let Some(parts) = CertificateParts::of(&changed) {
                let _ = shown_name(parts.subject);
            }
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        for (tag, text, expected) in [
            (UTC_TIME, "491231235959Z", parse_rfc3339("2049-12-31T23:59:59Z")),
            (UTC_TIME, "500101000000Z", parse_rfc3339("1950-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20500101000000Z", parse_rfc3339("2050-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "99991231235959Z", parse_rfc3339("9999-12-31T23:59:59Z")),
            (GENERALIZED_TIME, "20500101000000.5Z", None),
            (GENERALIZED_TIME, "20501301000000Z", None),
            (UTC_TIME, "4912312359Z", None),
            (UTC_TIME, "4912312359é", None),
            (INTEGER, "491231235959Z", None),
        ] {
            let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            assert_eq!(Reader(&der).time(), expected.map(|ms| ms / 1000), "{text}");
        }
    }

    #[test]
    fn names_of_the_other_side_are_shown_short_and_without_control_characters() {
        assert_eq!(clip("a\r\n\0b"), "a\u{fffd}\u{fffd}\u{fffd}b");
        assert_eq!(clip(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
        assert_eq!(shown_name(&[]), "an authority without a name");
        let bmp = [&[SET, 14, SEQUENCE, 12, OBJECT_IDENTIFIER, 3], COMMON_NAME, &[BMP_STRING, 5, 0, b'C', 0, b'A', 0]];
        assert_eq!(shown_name(&bmp.concat()), "CA");
    }
}
