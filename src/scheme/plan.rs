//! All that is known of a scheme before the first request.

#[cfg(feature = "asymmetric")]
use std::future::Future;
#[cfg(feature = "asymmetric")]
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "asymmetric")]
use std::time::SystemTime;

#[cfg(feature = "jwt")]
use http::header::AUTHORIZATION;
use http::header::{ALLOW, CONTENT_LENGTH, HeaderName};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::body_fields::BodyFields;
use crate::delivery::Signed;
use crate::encoding::Encoding;
use crate::provider::Recognition;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, Ring};
use crate::text::Text;
use crate::time::Tolerance;

#[cfg(feature = "jwt")]
use super::bearer::JwtProof;
use super::handshake::Handshake;
use super::mac::{Digest, Mac, MacKind, matching_key};
use super::place::Place;
#[cfg(feature = "asymmetric")]
use super::public_key::{Algorithm, PublicKey};
use super::public_url::PublicUrl;
use super::signature::SignaturePlan;
use super::template::{Piece, Template};
use super::timestamp::TimestampPlan;
use super::token::Token;
use super::urlencoded;

/// One form of a scheme.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) name: Text,
    pub(super) methods: Vec<Method>,
    pub(super) body_limit: usize,
    pub(super) applies: Option<Applies>,
    pub(super) signature: Where,
    pub(super) proof: Proof,
    pub(super) required: Vec<(HeaderName, &'static str)>,
    pub(super) timestamp: Option<TimestampPlan>,
    pub(super) id: Option<Place>,
    pub(super) event: Option<Place>,
    pub(super) in_body: Option<Arc<BodyFields>>,
    pub(super) template: Template,
    pub(super) body_hash: Option<SignaturePlan>,
    pub(super) one_json_value: bool,
    pub(super) url: Option<PublicUrl>,
    pub(super) handshakes: Vec<Handshake>,
    pub(super) refusal: Option<StatusCode>,
    /// What the signature covers, found out once.
    pub(super) signed: Signed,
    /// Whether the MAC can be fed while the body arrives, found out once.
    pub(super) streams: bool,
    /// Whether a verification looks at the clock, found out once.
    pub(super) is_timed: bool,
}

/// The requests that a form of a scheme is for, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    /// The body is `application/x-www-form-urlencoded`.
    Form,
    /// It is not.
    NotForm,
    /// There is none.
    NoBody,
}

/// Where what proves a request is.
#[derive(Clone)]
pub(super) enum Where {
    Signature(SignaturePlan),
    Token(Place),
    Crafted(Crafted),
    /// A JSON web token, whose place the proof knows.
    #[cfg(feature = "jwt")]
    Jwt,
}

/// How a request is proven.
#[derive(Clone)]
pub(super) enum Proof {
    Mac {
        kind: MacKind,
        keys: Keys<Mac>,
    },
    Token {
        keys: Keys<Token>,
        /// The keys are digests; a test that signs needs the text.
        #[cfg(feature = "testing")]
        secret: Option<crate::secrets::Secret>,
        #[cfg(feature = "testing")]
        format: crate::secrets::KeyFormat,
    },
    #[cfg(feature = "asymmetric")]
    Public {
        algorithm: Algorithm,
        keys: Keys<PublicKey>,
    },
    #[cfg(feature = "asymmetric")]
    Fetched(Fetched),
    #[cfg(feature = "jwt")]
    Jwt(Box<JwtProof>),
}

/// A signature whose key the request says where to fetch.
#[cfg(feature = "asymmetric")]
#[derive(Clone)]
pub(crate) struct Fetched {
    /// In words: the algorithm, and where the key is from.
    pub(crate) name: &'static str,
    pub(crate) longest_signature: usize,
    /// Judges where the key is said to be, before anything else is done.
    pub(crate) check: Arc<CheckKey>,
    /// Finds the key, once every offline check has passed.
    pub(crate) find: Arc<FindKey>,
}

#[cfg(feature = "asymmetric")]
type CheckKey = dyn Fn(&Parts) -> Result<(), Rejection> + Send + Sync;
#[cfg(feature = "asymmetric")]
type FindKey = dyn Fn(&Parts, SystemTime) -> FindVerifier + Send + Sync;

/// The fetch of a key.
#[cfg(feature = "asymmetric")]
pub(crate) type FindVerifier = Pin<Box<dyn Future<Output = Result<Verifier, Rejection>> + Send>>;

/// Whether a message and a signature belong together.
#[cfg(feature = "asymmetric")]
pub(crate) type Verifier = Arc<dyn Fn(&[u8], &[u8]) -> bool + Send + Sync>;

/// Several signed texts in one body, in a form of one sender's own.
#[derive(Clone)]
pub(crate) struct Crafted {
    /// In words: what is signed, and where the signature is.
    pub(crate) signed: &'static str,
    pub(crate) covers_body: bool,
    /// What the functions are told besides the body.
    pub(crate) parameter: Box<str>,
    /// At least one item; every one of them has to be signed.
    pub(crate) read: fn(&[u8], &str) -> Result<Vec<Item>, Rejection>,
    #[cfg(feature = "testing")]
    pub(crate) write: fn(&[u8], &Mac, &str) -> Option<Vec<u8>>,
}

/// One signed text. Any of its spellings may be what was signed.
pub(crate) struct Item {
    texts: Vec<Vec<u8>>,
    signature: Digest,
}

impl Item {
    pub(crate) fn new(
        texts: Vec<Vec<u8>>,
        signature: &str,
        encoding: Encoding,
        digest_len: usize,
    ) -> Result<Self, Rejection> {
        let mut digest = Digest::zero(digest_len);
        match encoding.decode_exact(signature.as_bytes(), digest.as_mut_bytes()) {
            true => Ok(Self { texts, signature: digest }),
            false => Err(Reason::MalformedSignature.into()),
        }
    }
}

impl Crafted {
    /// The position of the key that signed the first item, where every item is signed.
    pub(super) fn judge(&self, keys: &Ring<Mac>, body: &[u8]) -> Result<Option<usize>, Rejection> {
        let mut first = None;
        for item in (self.read)(body, &self.parameter)? {
            let key = item
                .texts
                .iter()
                .find_map(|text| matching_key(keys.iter().map(|key| key.of(text)), std::iter::once(&item.signature)));
            match key {
                Some(key) => first = first.or(Some(key)),
                None => return Ok(None),
            }
        }
        Ok(first)
    }
}

impl Plan {
    pub(super) fn is_crafted(&self) -> bool {
        matches!(self.signature, Where::Crafted(_))
    }

    /// How far the time that is signed may be from now.
    pub(super) fn tolerance(&self) -> Option<Tolerance> {
        match &self.proof {
            #[cfg(feature = "jwt")]
            Proof::Jwt(proof) => proof.times.issued,
            _ => self.timestamp.as_ref().map(|timestamp| timestamp.tolerance),
        }
    }

    pub(super) fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        match &mut self.proof {
            #[cfg(feature = "jwt")]
            Proof::Jwt(proof) => proof.times.issued.as_mut(),
            _ => self.timestamp.as_mut().map(|timestamp| &mut timestamp.tolerance),
        }
    }

    /// Whether what is signed before the body is known before the body is.
    pub(super) fn can_stream(&self) -> bool {
        let in_body = |place: Option<&Place>| place.is_some_and(Place::in_body);
        let timestamp = self.timestamp.as_ref().map(|timestamp| &timestamp.place);
        matches!(self.proof, Proof::Mac { .. })
            && !self.is_crafted()
            && self.template.streams()
            && !(self.template.has(&Piece::Timestamp) && in_body(timestamp))
            && !(self.template.has(&Piece::Id) && in_body(self.id.as_ref()))
    }

    /// Whether requests are proven by MACs whose keys are the same for each.
    pub(super) fn has_fixed_macs(&self) -> bool {
        matches!(&self.proof, Proof::Mac { keys, .. } if keys.fixed().is_some())
    }

    /// Whether there is a time to be judged.
    pub(super) fn has_time(&self) -> bool {
        match &self.proof {
            #[cfg(feature = "asymmetric")]
            Proof::Fetched(_) => true,
            #[cfg(feature = "jwt")]
            Proof::Jwt(_) => true,
            _ => self.timestamp.is_some(),
        }
    }

    pub(super) fn signature_in_body(&self) -> bool {
        match &self.signature {
            Where::Signature(signature) => signature.in_body(),
            Where::Token(place) => place.in_body(),
            Where::Crafted(_) => true,
            #[cfg(feature = "jwt")]
            Where::Jwt => false,
        }
    }

    pub(super) fn recognizes(&self, head: &Parts) -> Recognition {
        match &self.signature {
            Where::Signature(signature) => signature.recognizes(head),
            Where::Token(place) => place.recognizes(head),
            Where::Crafted(_) => Recognition::Perhaps,
            #[cfg(feature = "jwt")]
            Where::Jwt => match &self.proof {
                Proof::Jwt(proof) => head.headers.contains_key(&proof.header).into(),
                _ => Recognition::No,
            },
        }
    }

    /// Returns whether the body has what the head could not show.
    pub(super) fn is_in_body(&self, head: &Parts, body: &[u8]) -> bool {
        match &self.signature {
            Where::Signature(signature) => signature.places.iter().any(|place| place.is_there(head, body)),
            Where::Token(place) => place.is_there(head, body),
            Where::Crafted(crafted) => (crafted.read)(body, &crafted.parameter).is_ok(),
            #[cfg(feature = "jwt")]
            Where::Jwt => false,
        }
    }

    /// Whether this form is for such a request.
    pub(super) fn is_for(&self, head: &Parts) -> bool {
        let fits = match self.applies {
            None => true,
            Some(Applies::Form) => urlencoded::is_form(&head.headers),
            Some(Applies::NotForm) => !urlencoded::is_form(&head.headers),
            Some(Applies::NoBody) => head.headers.get(CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0"),
        };
        fits && self.methods.contains(&head.method)
    }

    /// The rejection as this sender is to get it: with the status that it insists on, where it is final, and with the
    /// challenge that belongs to a bearer token.
    pub(super) fn refusal(&self, rejection: Rejection) -> Rejection {
        let rejection = match self.refusal {
            Some(status) if !rejection.reason().is_transient() => rejection.with_status(status),
            _ => rejection,
        };
        match self.wants_bearer() {
            #[cfg(feature = "jwt")]
            true => super::jwt::challenge(rejection),
            _ => rejection,
        }
    }

    fn wants_bearer(&self) -> bool {
        match &self.proof {
            #[cfg(feature = "jwt")]
            Proof::Jwt(proof) => proof.header == AUTHORIZATION,
            _ => false,
        }
    }
}

/// The refusal of a method that is not one of these.
pub(crate) fn wrong_method<'a>(methods: impl IntoIterator<Item = &'a Method>) -> Rejection {
    let mut allowed: Vec<_> = methods.into_iter().map(Method::as_str).collect();
    allowed.dedup();
    let rejection = Rejection::new(Reason::MethodNotAllowed);
    match allowed.join(", ").try_into() {
        Ok(allowed) => rejection.with_header(ALLOW, allowed),
        Err(_) => rejection,
    }
}
