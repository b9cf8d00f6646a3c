//! The body of a response as text, for the log: decoded by `content-encoding` (RFC 9110 §8.4) and charset. It decides nothing.

use std::borrow::Cow;
use std::io::Read;

use encoding_rs::{Encoding, UTF_8};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::outbound::MAX_ANSWER_BYTES;

/// Bytes that the decoder of brotli reads at once.
const BROTLI_BUFFER_BYTES: usize = 4096;
/// Room that the decoder of a charset leaves unused at the end of its output, at most.
const DECODER_MARGIN_BYTES: usize = 16;
/// The longest name of an encoding that a note repeats, in bytes.
const MAX_NAME_BYTES: usize = 32;

/// The decoded body.
struct Decoded<'b> {
    bytes: Cow<'b, [u8]>,
    /// What is missing, for the reader of the log.
    note: Option<String>,
    /// Whether the body goes on.
    is_cut: bool,
}

/// Returns the first 16 KiB of the body as text. `body` holds at most [`MAX_ANSWER_BYTES`] of it.
pub(super) fn response_text(headers: &HeaderMap, body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    let Decoded { bytes, note, is_cut } = decode(headers, body);
    let mut text = match charset(headers, &bytes) {
        None if is_binary(&bytes) => binary(bytes.len(), is_cut),
        charset => to_text(charset.unwrap_or(UTF_8), &bytes, is_cut || note.is_some()),
    };
    let note = match note {
        None => String::new(),
        Some(note) if text.is_empty() => format!("({note})"),
        Some(note) => format!("\n({note})"),
    };
    text.truncate(text.floor_char_boundary(MAX_ANSWER_BYTES.saturating_sub(note.len())));
    text + &note
}

/// Undoes the content encoding.
fn decode<'b>(headers: &HeaderMap, body: &'b [u8]) -> Decoded<'b> {
    let is_cut = body.len() >= MAX_ANSWER_BYTES;
    let plain = |note| Decoded { bytes: body.into(), note, is_cut };
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let named = encodings.next().and_then(|name| name.to_str().ok()).unwrap_or_default().trim().to_ascii_lowercase();
    match (&*named, encodings.next()) {
        ("" | "identity", None) => plain(None),
        ("gzip" | "x-gzip", None) => inflate("gzip", MultiGzDecoder::new(body), is_cut),
        // RFC 9110 §8.4.1.2 means zlib (RFC 1950); some servers send bare deflate data.
        ("deflate", None) if is_zlib(body) => inflate("deflate", ZlibDecoder::new(body), is_cut),
        ("deflate", None) => inflate("deflate", DeflateDecoder::new(body), is_cut),
        ("br", None) => inflate("br", brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_BYTES), is_cut),
        (_, None) if is_name(&named) => plain(Some(format!("not decoded: content-encoding {named}"))),
        _ => plain(Some("not decoded: several content encodings".into())),
    }
}

/// Whether the data begins with a header of zlib (RFC 1950 §2.2).
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Reads at most [`MAX_ANSWER_BYTES`] of decoded data, however far the rest would expand.
fn inflate(name: &str, decoder: impl Read, is_cut: bool) -> Decoded<'static> {
    let mut bytes = Vec::new();
    let limit = MAX_ANSWER_BYTES + 1;
    let read = decoder.take(limit as u64).read_to_end(&mut bytes);
    if bytes.len() > MAX_ANSWER_BYTES {
        bytes.truncate(MAX_ANSWER_BYTES);
        return Decoded { bytes: bytes.into(), note: None, is_cut: true };
    }
    let note = match read {
        Ok(_) => None,
        // The rest was not read.
        Err(_) if is_cut => {
            Some(format!("cut off: of the {name} data, only the first {MAX_ANSWER_BYTES} bytes were read"))
        }
        Err(_) => Some(format!("the {name} data is damaged or incomplete from here on")),
    };
    Decoded { bytes: bytes.into(), note, is_cut }
}

/// Returns the charset of a text: that of its byte order mark, or that of `content-type` (WHATWG Encoding §6).
fn charset(headers: &HeaderMap, bytes: &[u8]) -> Option<&'static Encoding> {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return Some(encoding);
    }
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, label) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Encoding::for_label(label.trim().trim_matches('"').as_bytes()).filter(|encoding| *encoding != UTF_8)
}

/// Whether the bytes are no text: they are not UTF-8 and contain a binary data byte (WHATWG MIME Sniffing §3).
fn is_binary(bytes: &[u8]) -> bool {
    let is_binary_byte = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    std::str::from_utf8(bytes).is_err() && bytes.iter().any(is_binary_byte)
}

fn binary(length: usize, is_cut: bool) -> String {
    if is_cut { format!("(binary, {length} bytes or more)") } else { format!("(binary, {length} bytes)") }
}

/// Converts to UTF-8 without a byte order mark: at least [`MAX_ANSWER_BYTES`] of it, and little more. If the bytes go on, a character that they
/// only begin is left out.
fn to_text(charset: &'static Encoding, bytes: &[u8], is_cut: bool) -> String {
    let mut decoder = charset.new_decoder_with_bom_removal();
    let longest = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(usize::MAX);
    // The decoder fills the capacity, up to the rest of a character.
    let mut text = String::with_capacity(longest.min(MAX_ANSWER_BYTES + DECODER_MARGIN_BYTES));
    let _ = decoder.decode_to_string(bytes, &mut text, !is_cut);
    // PostgreSQL's TEXT has no NUL.
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = "{\"error\":\"ungültig\"}".as_bytes();

    fn headers(encoding: &str, content_type: &str) -> HeaderMap {
        let pairs = [(CONTENT_ENCODING, encoding), (CONTENT_TYPE, content_type)];
        pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k, v.parse().unwrap())).collect()
    }

    fn text(encoding: &str, body: &[u8]) -> String {
        response_text(&headers(encoding, ""), body)
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// `TEXT` as one uncompressed metablock of brotli (RFC 7932 §9.2), and an empty last one.
    fn brotli() -> Vec<u8> {
        // WBITS 16: 0. ISLAST: 0. MNIBBLES 4: 00. MLEN - 1: 16 bits. ISUNCOMPRESSED: 1. Then whole bytes.
        let header = (u32::try_from(TEXT.len()).unwrap() - 1) << 4 | 1 << 20;
        [&header.to_le_bytes()[..3], TEXT, &[0b11]].concat()
    }

    #[test]
    fn encoded_bodies_are_decoded() {
        let expected = std::str::from_utf8(TEXT).unwrap();
        for (encoding, body) in [
            ("", TEXT.to_vec()),
            ("identity", TEXT.to_vec()),
            ("gzip", gzip(TEXT)),
            ("X-GZIP", gzip(TEXT)),
            ("deflate", zlib(TEXT)),
            ("deflate", deflate(TEXT)),
            ("br", brotli()),
        ] {
            assert_eq!(text(encoding, &body), expected, "{encoding}");
            assert_eq!(text(encoding, b""), "");
        }
    }

    #[test]
    fn damaged_bodies_show_what_was_decoded_and_a_note() {
        let whole = gzip("0123456789".repeat(100).as_bytes());
        let broken = text("gzip", &whole[..whole.len() - 4]);
        assert!(broken.starts_with("0123456789"), "{broken}");
        assert!(broken.ends_with("\n(the gzip data is damaged or incomplete from here on)"), "{broken}");
        for encoding in ["gzip", "deflate", "br"] {
            let note = format!("(the {encoding} data is damaged or incomplete from here on)");
            assert_eq!(text(encoding, b"\xff\xff\xff rubbish"), note);
        }
        assert_eq!(text("zstd", b"abc"), "abc\n(not decoded: content-encoding zstd)");
        assert_eq!(text("gzip, br", b"abc"), "abc\n(not decoded: several content encodings)");
        assert_eq!(text("zstd", b"\xff\0"), "(binary, 2 bytes)\n(not decoded: content-encoding zstd)");
    }

    #[test]
    fn no_body_expands_beyond_16_kib() {
        for (encoding, body) in [("gzip", gzip(&[b'x'; 1 << 20])), ("deflate", deflate(&[b'x'; 1 << 20]))] {
            assert!(body.len() < MAX_ANSWER_BYTES);
            assert_eq!(text(encoding, &body), "x".repeat(MAX_ANSWER_BYTES), "{encoding}");
        }
        let latin = response_text(&headers("", "text/plain; charset=latin1"), &[0xe9; MAX_ANSWER_BYTES]);
        assert_eq!(latin, "é".repeat(MAX_ANSWER_BYTES / 2));
        let lossy = text("", &[0xff; MAX_ANSWER_BYTES]);
        assert!(lossy.len() <= MAX_ANSWER_BYTES && lossy.starts_with('\u{fffd}'), "{} bytes", lossy.len());
        // A character that the bound cuts in two is left out.
        let cut = [&[b'x'; MAX_ANSWER_BYTES - 1][..], &[0xc3]].concat();
        assert_eq!(text("", &cut), "x".repeat(MAX_ANSWER_BYTES - 1));
        // So are the bytes of encoded data that were not read.
        let noise: Vec<u8> =
            (0..2 * MAX_ANSWER_BYTES as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let noise: Vec<u8> = noise.iter().map(|byte| b'a' + byte % 16).collect();
        let cut = text("gzip", &gzip(&noise)[..MAX_ANSWER_BYTES]);
        assert!(cut.len() <= MAX_ANSWER_BYTES && noise.starts_with(&cut.as_bytes()[..1000]));
    }

    #[test]
    fn charsets_and_byte_order_marks_are_respected() {
        for (content_type, body, expected) in [
            ("text/plain; charset=iso-8859-1", &b"Cl\xe9 p\xe9rim\xe9e"[..], "Clé périmée"),
            ("text/html; Charset=\"Shift_JIS\"", b"\x83G\x83\x89\x81[", "エラー"),
            ("text/plain; charset=utf-16", b"\xff\xfee\0r\0", "er"),
            ("text/plain; charset=utf-16", b"\xfe\xff\0e\0r", "er"),
            ("text/plain", b"\xff\xfee\0r\0", "er"),
            ("application/json; charset=utf-8", b"\xef\xbb\xbf{}", "{}"),
            ("text/plain; charset=iso-8859-1", b"\xef\xbb\xbf\xc3\xa9", "é"),
            ("text/plain; charset=klingon", b"a\xe9", "a\u{fffd}"),
            ("text/plain; charset", b"a", "a"),
            ("", b"a\0b", "a\u{fffd}b"),
        ] {
            assert_eq!(response_text(&headers("", content_type), body), expected, "{content_type}");
        }
    }

    #[test]
    fn binary_bodies_are_not_shown() {
        assert_eq!(text("", b"\x89PNG\r\n\x1a\n\0\0"), "(binary, 10 bytes)");
        assert_eq!(
            text("", &[&b"\xff\0"[..], &[b'x'; MAX_ANSWER_BYTES - 2]].concat()),
            "(binary, 16384 bytes or more)"
        );
        assert_eq!(text("gzip", &gzip(b"\xff\0")), "(binary, 2 bytes)");
        assert_eq!(text("", b"caf\xe9"), "caf\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_body_makes_a_decoder_panic_or_exceed_the_bound(
            kind in 0..4_usize,
            charset in prop::sample::select(vec!["", "a/b; charset=iso-2022-jp", "a/b; charset=gb18030", "a/b; charset=utf-16be"]),
            noise in prop::collection::vec(any::<u8>(), 0..600),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let data = [&noise[..], TEXT].concat();
            let (encoding, mut body) = match kind {
                0 => ("gzip", gzip(&data)),
                1 => ("deflate", zlib(&data)),
                2 => ("deflate", deflate(&data)),
                _ => ("br", [brotli(), noise].concat()),
            };
            for (place, byte) in changes {
                let place = place.index(body.len());
                body[place] = byte;
            }
            prop_assert!(response_text(&headers(encoding, charset), &body).len() <= MAX_ANSWER_BYTES);
        }
    }
}
