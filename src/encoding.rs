//! Text encodings of digests and keys, decoded exactly or not at all.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Padding exactly as the alphabet demands it, unused bits zero, nothing after the end.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// How bytes are written as text in a header, a query or a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// Lower-case hexadecimal, two digits a byte.
    Hex,
    /// Hexadecimal in either case, for the few senders that write upper case.
    HexAnyCase,
    /// The standard base64 alphabet (RFC 4648, section 4), padded.
    Base64,
    /// The URL-safe base64 alphabet (RFC 4648, section 5), without padding.
    Base64Url,
}

impl Encoding {
    /// Returns the length of the text that encodes `len` bytes.
    pub(crate) const fn text_len(self, len: usize) -> usize {
        match self {
            Self::Hex | Self::HexAnyCase => len * 2,
            Self::Base64 => len.div_ceil(3) * 4,
            Self::Base64Url => (len * 4).div_ceil(3),
        }
    }

    /// Returns the encoding's name, for details and tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::HexAnyCase => "hex in either case",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
        }
    }

    /// Decodes a text of exactly `out.len()` bytes, without allocating. After a failure the
    /// contents of `out` are unspecified.
    #[inline]
    pub(crate) fn decode_exact(self, text: &[u8], out: &mut [u8]) -> bool {
        self.exactly()(text, out)
    }

    /// Returns what decodes a text as [`decode_exact`](Self::decode_exact) does.
    pub(crate) fn exactly(self) -> DecodeExactly {
        match self {
            Self::Hex => decode_hex,
            Self::HexAnyCase => decode_hex_any_case,
            Self::Base64 => decode_base64,
            Self::Base64Url => decode_base64url,
        }
    }

    /// Decodes a text of any length.
    pub(crate) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            // By length: const-hex takes `0x` for a prefix, which would give a value two spellings.
            Self::Hex | Self::HexAnyCase => {
                let mut bytes = vec![0; text.len() / 2];
                self.decode_exact(text, &mut bytes).then_some(bytes)
            }
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Base64Url => URL_SAFE.decode(text).ok(),
        }
    }

    /// Encodes bytes as text.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex | Self::HexAnyCase => hex::encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE.encode(bytes),
        }
    }
}

/// Decodes a text of exactly as many bytes as there is room for.
pub(crate) type DecodeExactly = fn(&[u8], &mut [u8]) -> bool;

pub(crate) fn decode_hex(text: &[u8], out: &mut [u8]) -> bool {
    !has_upper_case(text) && decode_hex_any_case(text, out)
}

fn decode_hex_any_case(text: &[u8], out: &mut [u8]) -> bool {
    text.len() == Encoding::HexAnyCase.text_len(out.len()) && hex::decode_to_slice(text, out).is_ok()
}

pub(crate) fn decode_base64(text: &[u8], out: &mut [u8]) -> bool {
    text.len() == Encoding::Base64.text_len(out.len()) && STANDARD.decode_slice(text, out) == Ok(out.len())
}

pub(crate) fn decode_base64url(text: &[u8], out: &mut [u8]) -> bool {
    text.len() == Encoding::Base64Url.text_len(out.len()) && URL_SAFE.decode_slice(text, out) == Ok(out.len())
}

/// Looks at every byte, which the compiler vectorizes, unlike a search that stops early.
#[inline]
fn has_upper_case(text: &[u8]) -> bool {
    text.iter().fold(false, |found, byte| found | byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Encoding; 4] = [Encoding::Hex, Encoding::HexAnyCase, Encoding::Base64, Encoding::Base64Url];

    #[test]
    fn every_length_survives_a_round_trip() {
        for encoding in ALL {
            for len in 0..130_usize {
                let bytes: Vec<u8> = (0..=255).cycle().skip(len).step_by(37).take(len).collect();
                let text = encoding.encode(&bytes);
                assert_eq!(text.len(), encoding.text_len(len), "{encoding:?} of {len} bytes");
                let mut out = vec![0; len];
                assert!(encoding.decode_exact(text.as_bytes(), &mut out), "{encoding:?} of {len} bytes");
                assert_eq!(out, bytes);
                assert_eq!(encoding.decode(text.as_bytes()), Some(bytes));
            }
        }
    }

    #[test]
    fn only_the_one_spelling_is_read() {
        let mut out = [0; 2];
        for (encoding, text) in [
            (Encoding::Hex, "AB12"),
            (Encoding::Hex, "ab1"),
            (Encoding::Hex, "ab12 "),
            (Encoding::Hex, "0xab"),
            (Encoding::HexAnyCase, "0xab"),
            (Encoding::HexAnyCase, "0Xab12"),
            (Encoding::HexAnyCase, "0x"),
            (Encoding::Base64, "qxI"),
            (Encoding::Base64, "qxI=="),
            (Encoding::Base64, "qxJ="),
            (Encoding::Base64, "qxI=qxI="),
            (Encoding::Base64, "q_I="),
            (Encoding::Base64, " qxI"),
            (Encoding::Base64Url, "qxI="),
            (Encoding::Base64Url, "qxJ"),
            (Encoding::Base64Url, "q+I"),
        ] {
            assert!(!encoding.decode_exact(text.as_bytes(), &mut out), "{encoding:?} read {text:?}");
            assert_eq!(encoding.decode(text.as_bytes()), None, "{encoding:?} read {text:?}");
        }
        assert!(Encoding::HexAnyCase.decode_exact(b"AB12", &mut out));
        assert_eq!(out, [0xab, 0x12]);
    }
}
