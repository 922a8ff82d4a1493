//! The places that may hold a signature, and how it is read from there.

use std::fmt;

use http::request::Parts;
use smallvec::SmallVec;

use crate::encoding::{DecodeExactly, Encoding};
use crate::headers::{LONGEST_HEADER, single};
use crate::mac::Digest;
use crate::rejection::{Reason, Rejection};

use super::{Place, Read, Spot, TakeEach};

const NONE_IN: &str = "none in ";

/// The places of a signature, the usual one first, and its encoding.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) places: Vec<Place>,
    pub(crate) encoding: Encoding,
    /// What decodes it: beside its name, so that a program has the encodings alone that its senders
    /// use.
    decode: DecodeExactly,
    /// What ends the id of a key in front of the signature.
    pub(crate) behind: Option<u8>,
    /// The detail if there is none, written once: most refusals are for that. Behind [`NONE_IN`] it
    /// names the places.
    missing: String,
}

/// The MACs that a request offers: one for nearly every sender, and that one without an allocation.
pub(crate) type Candidates = SmallVec<[Digest; 1]>;

impl Signature {
    pub(crate) fn new(place: Place, encoding: Encoding, decode: DecodeExactly) -> Self {
        Self { missing: format!("{NONE_IN}{place}"), places: vec![place], encoding, decode, behind: None }
    }

    /// Adds another place.
    #[inline]
    pub(crate) fn or(mut self, place: Place) -> Self {
        self.missing += &format!(" or {place}");
        self.places.push(place);
        self
    }

    /// Reads every signature that is there, each of this length in bytes. None at all is refused.
    #[inline]
    pub(crate) fn read(&self, head: &Parts, body: &[u8], digest_len: usize) -> Result<Candidates, Rejection> {
        let mut found = Candidates::new();
        self.each(head, body, |text| {
            let text = self.behind_id(text);
            let mut digest = Digest::zero(digest_len);
            if !(self.decode)(text, digest.as_mut_bytes()) {
                return Err(self.undecodable(digest_len));
            }
            found.push(digest);
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns whether a request has one signature at most.
    pub(crate) fn is_single(&self) -> bool {
        matches!(&self.places[..], [place] if place.list.is_none() && !matches!(place.spot, Spot::Numbered(_)))
    }

    /// Reads every signature that is there, for algorithms whose signatures have no fixed length.
    #[cfg(feature = "asymmetric")]
    pub(crate) fn read_up_to(&self, head: &Parts, body: &[u8], longest: usize) -> Result<Vec<Vec<u8>>, Rejection> {
        let mut found = Vec::new();
        self.each(head, body, |text| {
            let text = self.behind_id(text);
            let is_short = text.len() <= self.encoding.text_len(longest);
            let decoded = if is_short { self.encoding.decode(text) } else { None };
            let decoded = decoded.filter(|signature| !signature.is_empty());
            found.push(decoded.ok_or_else(|| self.undecodable(format_args!("1 to {longest}")))?);
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

    #[inline]
    fn behind_id<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some(separator) = self.behind else { return text };
        let id = text.iter().rposition(|byte| *byte == separator);
        id.map_or(text, |id| &text[id + 1..])
    }

    #[cold]
    fn missing(&self) -> Rejection {
        Rejection::new(Reason::MissingSignature).with_detail(self.missing.clone())
    }

    #[cold]
    fn undecodable(&self, bytes: impl fmt::Display) -> Rejection {
        let (places, encoding) = (self.names(), self.encoding.name());
        Rejection::new(Reason::MalformedSignature)
            .with_detail(format!("{places} does not hold {bytes} bytes in {encoding}"))
    }

    /// Returns where the signature may be, for details and tables.
    pub(crate) fn names(&self) -> &str {
        &self.missing[NONE_IN.len()..]
    }
}

impl Place {
    /// Hands on every value that may be a signature, and returns how many there are.
    #[inline]
    pub(super) fn each(
        &self,
        head: &Parts,
        body: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Rejection>,
    ) -> Result<usize, Rejection> {
        match (&self.spot, self.list) {
            // Where nearly every signature is: as `value`, in fewer steps.
            (Spot::Header(name), None) => {
                let Some(value) = single(head, name, LONGEST_HEADER)? else { return Ok(0) };
                take(self.behind_prefix(value)?).map(|()| 1)
            }
            (Spot::Header(name), Some(list)) => {
                let Some(value) = single(head, name, LONGEST_HEADER)? else { return Ok(0) };
                (list.each)(self, list, value.as_bytes(), &mut take)
            }
            _ => self.each_elsewhere(head, body, &mut take),
        }
    }

    fn each_elsewhere(&self, head: &Parts, body: &[u8], take: &mut TakeEach<'_>) -> Result<usize, Rejection> {
        if let Read::Each(each) = self.read {
            return each(self, head, take);
        }
        let malformed = Reason::MalformedSignature;
        match self.list {
            None => match self.value(head, body, malformed)? {
                Some(value) => take(value.as_bytes()).map(|()| 1),
                None => Ok(0),
            },
            Some(list) => {
                let Some(value) = self.raw(head, body, malformed)? else { return Ok(0) };
                (list.each)(self, list, value.as_bytes(), take)
            }
        }
    }
}
