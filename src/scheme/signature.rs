//! Reading a sender's signatures from a request.

use http::request::Parts;

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::provider::Recognition;
use crate::rejection::{Reason, Rejection};

use super::mac::Digest;
use super::place::Place;
use super::source::Source;

/// Where a signature is and how it is written: see [`header`](super::header).
#[derive(Clone, Debug)]
pub struct SignatureSpec {
    sources: Vec<Source>,
    encoding: Encoding,
}

impl SignatureSpec {
    pub(super) fn new(source: Source, encoding: Encoding) -> Self {
        Self { sources: vec![source], encoding }
    }

    /// The signature may be here as well, in the same encoding: a primary and a secondary header, for example. All that
    /// are there are tried.
    #[must_use]
    pub fn or(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    pub(super) fn plan(self) -> Result<SignaturePlan, ConfigError> {
        let places = self.sources.into_iter().map(Source::place).collect::<Result<_, _>>()?;
        Ok(SignaturePlan { places, encoding: self.encoding })
    }
}

#[derive(Clone, Debug)]
pub(super) struct SignaturePlan {
    pub(super) places: Box<[Place]>,
    pub(super) encoding: Encoding,
}

/// The signatures that a request has: one for nearly every sender, and that one without an allocation.
#[derive(Default)]
pub(super) struct Candidates {
    first: Option<Digest>,
    rest: Vec<Digest>,
}

impl Candidates {
    /// Has one more written in its place; what is there after a failure has no meaning.
    #[inline]
    fn add(&mut self, len: usize, write: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let digest = match &mut self.first {
            first @ None => first.insert(Digest::zero(len)),
            Some(_) => {
                self.rest.push(Digest::zero(len));
                let Some(last) = self.rest.last_mut() else { return false };
                last
            }
        };
        write(digest.as_mut_bytes())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Digest> + Clone {
        self.first.iter().chain(&self.rest)
    }
}

impl SignaturePlan {
    pub(super) fn in_body(&self) -> bool {
        self.places.iter().any(Place::in_body)
    }

    pub(super) fn recognizes(&self, head: &Parts) -> Recognition {
        let found = |wanted| self.places.iter().any(|place| place.recognizes(head) == wanted);
        if found(Recognition::Yes) {
            Recognition::Yes
        } else if found(Recognition::Perhaps) {
            Recognition::Perhaps
        } else {
            Recognition::No
        }
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
        self.each(head, body, |text| match found.add(digest_len, |digest| self.encoding.decode_exact(text, digest)) {
            true => Ok(()),
            false => Err(Reason::MalformedSignature.into()),
        })
    }

    /// As [`read`](Self::read), for signatures whose length is the algorithm's affair.
    #[cfg(feature = "asymmetric")]
    pub(super) fn read_long(&self, head: &Parts, body: &[u8], longest: usize) -> Result<Vec<Vec<u8>>, Rejection> {
        let mut found = Vec::new();
        self.each(head, body, |text| {
            if text.len() > self.encoding.text_len(longest) {
                return Err(Reason::MalformedSignature.into());
            }
            found.push(self.encoding.decode(text).ok_or(Reason::MalformedSignature)?);
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
        match count {
            0 => Err(Reason::MissingSignature.into()),
            _ => Ok(()),
        }
    }
}
