//! Reading a sender's signatures from a request.

use http::request::Parts;
use smallvec::SmallVec;

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::mac::Digest;
use crate::provider::Recognition;
use crate::rejection::{Reason, Rejection};
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::place::Place;
#[cfg(feature = "testing")]
use super::sign::Unsigned;
use super::source::Source;

/// Where a signature is and how it is written: see [`header`](super::header).
#[derive(Clone, Debug)]
pub struct SignatureSpec(pub(crate) Result<Signature, ConfigError>);

impl SignatureSpec {
    pub(super) fn new(source: Source, encoding: Encoding) -> Self {
        Self(source.0.map(|place| Signature { missing: format!("none in {place}"), places: vec![place], encoding }))
    }

    /// Adds another place where a signature may be, in the same encoding, such as a secondary header. All that are there
    /// are tried.
    #[must_use]
    pub fn or(self, source: Source) -> Self {
        Self(self.0.and_then(|mut signature| {
            let place = source.0?;
            signature.missing += &format!(" or {place}");
            signature.places.push(place);
            Ok(signature)
        }))
    }
}

/// The places of a signature, the usual one first, and its encoding.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(super) places: Vec<Place>,
    pub(super) encoding: Encoding,
    /// The detail if there is none, written once: most refusals are for that.
    missing: String,
}

/// The MACs that a request offers: one for nearly every sender, and that one without an allocation.
pub(super) type Candidates = SmallVec<[Digest; 1]>;

impl Signature {
    pub(super) fn in_body(&self) -> bool {
        self.places.iter().any(Place::in_body)
    }

    pub(crate) fn recognizes(&self, head: &Parts) -> Recognition {
        let found = |wanted| self.places.iter().any(|place| place.recognizes(head) == wanted);
        if found(Recognition::Yes) {
            Recognition::Yes
        } else if found(Recognition::Perhaps) {
            Recognition::Perhaps
        } else {
            Recognition::No
        }
    }

    pub(super) fn is_there(&self, head: &Parts, body: &[u8]) -> bool {
        self.places.iter().any(|place| place.is_there(head, body))
    }

    /// Adds every signature that is there, as bytes. None at all is refused.
    #[inline]
    pub(super) fn read(
        &self,
        head: &Parts,
        body: &[u8],
        digest_len: usize,
        found: &mut Candidates,
    ) -> Result<(), Rejection> {
        self.each(head, body, |text| {
            let mut digest = Digest::zero(digest_len);
            if !self.encoding.decode_exact(text, digest.as_mut_bytes()) {
                return Err(self.undecodable(digest_len));
            }
            found.push(digest);
            Ok(())
        })
    }

    /// Reads every signature that is there, for algorithms whose signatures have no fixed length.
    pub(crate) fn read_up_to(&self, head: &Parts, body: &[u8], longest: usize) -> Result<Vec<Vec<u8>>, Rejection> {
        let mut found = Vec::new();
        self.each(head, body, |text| {
            let is_short = text.len() <= self.encoding.text_len(longest);
            let decoded = if is_short { self.encoding.decode(text) } else { None };
            found.push(decoded.ok_or_else(|| self.undecodable(format_args!("up to {longest}")))?);
            Ok(())
        })?;
        Ok(found)
    }

    #[inline]
    fn each(
        &self,
        head: &Parts,
        body: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let mut count = 0;
        for place in &self.places {
            count += place.each(head, body, &mut take)?;
        }
        if count == 0 {
            return Err(self.missing());
        }
        Ok(())
    }

    #[cold]
    fn missing(&self) -> Rejection {
        Rejection::new(Reason::MissingSignature).with_detail(self.missing.clone())
    }

    #[cold]
    fn undecodable(&self, bytes: impl std::fmt::Display) -> Rejection {
        let (places, encoding) = (self.names(), self.encoding.name());
        Rejection::new(Reason::MalformedSignature)
            .with_detail(format!("{places} does not hold {bytes} bytes in {encoding}"))
    }

    /// Returns where the signature may be, for details and tables.
    pub(super) fn names(&self) -> String {
        let places: Vec<_> = self.places.iter().map(ToString::to_string).collect();
        places.join(" or ")
    }

    /// Describes a signature by this algorithm over a text, for tables.
    #[cfg(feature = "testing")]
    pub(crate) fn describe(&self, algorithm: &str, text: impl std::fmt::Display) -> String {
        format!("{algorithm} in {} ({}) over `{text}`", self.names(), self.encoding.name())
    }

    /// Puts a signature into its usual place.
    #[cfg(feature = "testing")]
    pub(crate) fn put(&self, request: &mut Unsigned<'_>, signature: &[u8]) -> Result<(), SignError> {
        self.places[0].put(request.head, request.body, &self.encoding.encode(signature))
    }
}
