//! Reading a sender's signature from the head.

use http::request::Parts;

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::reject::{Reason, Rejection};

use super::mac::{Digest, LONGEST_DIGEST};
use super::source::{Place, Source};

/// Where a signature is and how it is written: see [`header`](super::header).
#[derive(Clone, Debug)]
pub struct SignatureSpec {
    pub(super) source: Source,
    pub(super) encoding: Encoding,
}

impl SignatureSpec {
    pub(super) fn plan(self, digest_len: usize) -> Result<SignaturePlan, ConfigError> {
        Ok(SignaturePlan { place: self.source.place()?, encoding: self.encoding, digest_len })
    }
}

#[derive(Debug)]
pub(super) struct SignaturePlan {
    pub(super) place: Place,
    encoding: Encoding,
    digest_len: usize,
}

impl SignaturePlan {
    pub(super) fn read(&self, head: &Parts) -> Result<Digest, Rejection> {
        let text = self.place.value(head, Reason::MalformedSignature)?.ok_or(Reason::MissingSignature)?;
        let mut digest = [0; LONGEST_DIGEST];
        let digest = &mut digest[..self.digest_len];
        match self.encoding.decode_exact(text, digest) {
            true => Ok(Digest::new(digest)),
            false => Err(Reason::MalformedSignature.into()),
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn write(&self, digest: &Digest) -> String {
        self.encoding.encode(digest.as_bytes())
    }
}
