//! Saying what a scheme is.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::HeaderName;
use http::{Method, StatusCode};

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::delivery;
use crate::provider::DEFAULT_BODY_LIMIT;
use crate::secrets::{KeyFormat, Secrets};
use crate::text::Text;

#[cfg(feature = "jwt")]
use super::bearer::JwtProof;
use super::handshake::Handshake;
use super::mac::{Mac, MacKind};
use super::place::{Place, Spot};
#[cfg(feature = "asymmetric")]
use super::plan::Fetched;
use super::plan::{Applies, Crafted, Plan, Proof, Where};
#[cfg(feature = "asymmetric")]
use super::public_key::{Algorithm, PublicKey};
use super::public_url::PublicUrl;
use super::signature::SignatureSpec;
use super::source::Source;
use super::template::{Piece, Template};
use super::timestamp::TimestampSpec;
use super::token::Token;
use super::{Scheme, urlencoded};

/// Builds a [`Scheme`]; nothing is checked before [`build`](Self::build).
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct SchemeBuilder {
    kind: Kind,
    methods: Vec<Method>,
    body_limit: usize,
    applies: Option<Applies>,
    signature: Option<SignatureSpec>,
    crafted: Option<Crafted>,
    required: Vec<(&'static str, &'static str)>,
    timestamp: Option<TimestampSpec>,
    id: Option<Source>,
    event: Option<Source>,
    in_body: BodyFields,
    template: Signed,
    body_unsigned: bool,
    body_hash: Option<SignatureSpec>,
    public_url: Option<Result<PublicUrl, ConfigError>>,
    handshakes: Vec<Handshake>,
    refusal: Option<StatusCode>,
    key_format: KeyFormat,
    secrets: Option<Secrets>,
    public_keys: Option<Secrets>,
}

#[derive(Clone)]
enum Kind {
    Mac(MacKind),
    Token(Source),
    #[cfg(feature = "asymmetric")]
    Public(Algorithm),
    #[cfg(feature = "asymmetric")]
    Fetched(Fetched),
    #[cfg(feature = "jwt")]
    Jwt(Box<JwtProof>),
}

#[derive(Clone, Debug)]
enum Signed {
    Text(&'static str),
    Pieces(Vec<Piece>),
}

impl SchemeBuilder {
    pub(super) fn mac(kind: MacKind) -> Self {
        Self::new(Kind::Mac(kind))
    }

    pub(super) fn token(place: Source) -> Self {
        Self::new(Kind::Token(place))
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn public(algorithm: Algorithm) -> Self {
        Self::new(Kind::Public(algorithm))
    }

    #[cfg(feature = "asymmetric")]
    #[allow(dead_code, reason = "for PayPal, which needs certificates")]
    pub(crate) fn fetched(fetched: Fetched) -> Self {
        Self::new(Kind::Fetched(fetched))
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn jwt(proof: JwtProof) -> Self {
        Self::new(Kind::Jwt(Box::new(proof)))
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            methods: vec![Method::POST],
            body_limit: DEFAULT_BODY_LIMIT,
            applies: None,
            signature: None,
            crafted: None,
            required: Vec::new(),
            timestamp: None,
            id: None,
            event: None,
            in_body: BodyFields::new(),
            template: Signed::Text("{body}"),
            body_unsigned: false,
            body_hash: None,
            public_url: None,
            handshakes: Vec::new(),
            refusal: None,
            key_format: KeyFormat::Text,
            secrets: None,
            public_keys: None,
        }
    }

    /// Where the signature is. Required, unless the scheme is a [token](Scheme::token).
    pub fn signature(mut self, signature: SignatureSpec) -> Self {
        self.signature = Some(signature);
        self
    }

    /// Where the timestamp is, if the sender signs one. It must then be part of what is signed.
    pub fn timestamp(mut self, timestamp: TimestampSpec) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// What is signed. The default is `{body}` alone.
    ///
    /// | piece | is |
    /// |---|---|
    /// | `{body}` | the body's bytes |
    /// | `{timestamp}`, `{id}` | the text at those places, as it was received |
    /// | `{method}` | the method |
    /// | `{url}` | the [public address](Self::public_url) with path and query, byte for byte |
    /// | `{path}`, `{query}` | those parts as they were requested, without the `?` |
    /// | `{header:x-name}` | a header's value; it has to be there once |
    /// | `{params}` | the fields of a form body, sorted by name, name and value without separators |
    ///
    /// Anything else is literal text. The text has to cover the body by `{body}` or `{params}`, or else by a
    /// [hash](Self::body_hash).
    pub fn signed(mut self, template: &'static str) -> Self {
        self.template = Signed::Text(template);
        self
    }

    /// As [`signed`](Self::signed), for the few senders that do not sign their body: whoever has seen one signed request can
    /// put any body behind its signature.
    pub fn signed_without_the_body(mut self, template: &'static str) -> Self {
        self.template = Signed::Text(template);
        self.body_unsigned = true;
        self
    }

    /// Where the SHA-256 of the body is, in a place that is signed. The body is compared with it.
    pub fn body_hash(mut self, hash: SignatureSpec) -> Self {
        self.body_hash = Some(hash);
        self
    }

    /// Where the id of the event or delivery is. It is required in a request only where it is signed.
    pub fn id(mut self, id: Source) -> Self {
        self.id = Some(id);
        self
    }

    /// Where the event's name is.
    pub fn event(mut self, event: Source) -> Self {
        self.event = Some(event);
        self
    }

    /// Finds, in a verified body, the id that stays the same over the sender's retries, where the one that
    /// [`id`](Self::id) names does not. It is only called where [`Delivery::identity`](crate::Delivery::identity) is.
    pub fn identity(mut self, choose: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.in_body = self.in_body.with_identity(choose);
        self
    }

    /// As [`identity`](Self::identity), at a JSON pointer: it is read together with an id and an event that are in the body.
    pub fn identity_at(mut self, pointer: impl Into<Text>) -> Self {
        self.in_body = self.in_body.with_identity_at(pointer);
        self
    }

    /// As [`identity_at`](Self::identity_at), made of the values at several JSON pointers.
    pub fn identity_from<T: Into<Text>>(
        mut self,
        pointers: impl IntoIterator<Item = T>,
        join: impl Fn(&[Option<Cow<'_, str>>]) -> Option<Text> + Send + Sync + 'static,
    ) -> Self {
        self.in_body = self.in_body.with_identity_from(pointers, join);
        self
    }

    /// The secret, or several.
    pub fn secret(mut self, secrets: impl Into<Secrets>) -> Self {
        self.secrets = Some(secrets.into());
        self
    }

    /// The sender's public key, or several: PEM, or the SubjectPublicKeyInfo or the bare key in base64 or hexadecimal, or
    /// `whpk_` and base64. [`Secret::from_bytes`](crate::Secret::from_bytes) takes the bytes themselves.
    #[cfg(feature = "asymmetric")]
    pub fn public_key(mut self, keys: impl Into<Secrets>) -> Self {
        self.public_keys = Some(keys.into());
        self
    }

    /// How the sender's secret text stands for key bytes. The default is the text itself.
    pub fn key_format(mut self, format: KeyFormat) -> Self {
        self.key_format = format;
        self
    }

    /// The methods that the sender uses. The default is `POST` alone.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// The largest body that the sender sends, in bytes. The default is [`DEFAULT_BODY_LIMIT`].
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// The address that the sender was given, up to where the path begins that this service sees:
    /// `https://hooks.example.com`. What was requested is put behind it byte for byte.
    pub fn public_url(mut self, base: &str) -> Self {
        self.public_url = Some(PublicUrl::base(base));
        self
    }

    /// Takes the address from `X-Forwarded-Proto` and `X-Forwarded-Host` (or `Host`), unless one is
    /// [set](Self::public_url). Only for a service that nobody but such a proxy can reach: others could write what they
    /// like there.
    pub fn trust_forwarded_headers(mut self) -> Self {
        self.public_url.get_or_insert(Ok(PublicUrl::Forwarded));
        self
    }

    /// A question that the sender asks beside its deliveries.
    pub fn handshake(mut self, handshake: Handshake) -> Self {
        self.handshakes.push(handshake);
        self
    }

    /// A header that has to have exactly this value, such as the name of the method that the sender signed by.
    pub fn requires(mut self, header: &'static str, value: &'static str) -> Self {
        self.required.push((header, value));
        self
    }

    /// The status of every refusal that is final, for senders that look for one status alone.
    pub fn refuse_with(mut self, status: StatusCode) -> Self {
        self.refusal = Some(status);
        self
    }

    /// Several texts in the body, in a form of this sender's own.
    pub(crate) fn crafted(mut self, crafted: Crafted) -> Self {
        self.crafted = Some(crafted);
        self
    }

    pub(crate) fn signed_pieces(mut self, pieces: Vec<Piece>) -> Self {
        self.template = Signed::Pieces(pieces);
        self
    }

    pub(crate) fn applies(mut self, applies: Applies) -> Self {
        self.applies = Some(applies);
        self
    }

    /// The key is the digest of the secret: HMAC-SHA1 only.
    pub(crate) fn by_hashed_key(mut self) -> Self {
        self.kind = Kind::Mac(MacKind::Sha1OfHashedKey);
        self
    }

    /// Checks the scheme and gives it a name, in `snake_case`.
    ///
    /// # Errors
    ///
    /// Where something is missing, empty, undecodable or contradicts itself. The message names the fault.
    pub fn build(self, name: impl Into<Text>) -> Result<Scheme, ConfigError> {
        let name = name.into();
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(ConfigError::invalid("a provider's name is snake_case: a to z, 0 to 9 and _"));
        }
        if self.methods.is_empty() {
            return Err(ConfigError::missing("the scheme accepts no method"));
        }
        let template = match &self.template {
            Signed::Text(text) => Template::parse(text)?,
            Signed::Pieces(pieces) => Template::new(pieces)?,
        };
        let signature = self.place_of_signature()?;
        let id = self.id.clone().map(Source::place).transpose()?;
        let event = self.event.clone().map(Source::place).transpose()?;
        let timestamp = self.timestamp.clone().map(TimestampSpec::plan).transpose()?;
        let mut in_body = self.in_body.clone();
        in_body = match id.as_ref().map(|place| &place.spot) {
            Some(&Spot::Json(pointer)) => in_body.with_id_at(pointer),
            Some(&Spot::Form(field)) => in_body.with_id(move |body| form_text(body, field)),
            _ => in_body,
        };
        in_body = match event.as_ref().map(|place| &place.spot) {
            Some(&Spot::Json(pointer)) => in_body.with_event_at(pointer),
            Some(&Spot::Form(field)) => in_body.with_event(move |body| form_text(body, field)),
            _ => in_body,
        };
        let url = self.public_url.clone().transpose()?;
        let mut plan = Plan {
            name,
            one_json_value: matches!(self.kind, Kind::Mac(MacKind::SecretThenTextSha256)),
            proof: self.proof()?,
            methods: self.methods,
            body_limit: self.body_limit,
            applies: self.applies,
            signature,
            required: self.required.into_iter().map(required).collect::<Result<_, _>>()?,
            timestamp,
            in_body: in_body.shared(),
            id,
            event,
            template,
            body_hash: self.body_hash.map(SignatureSpec::plan).transpose()?,
            url,
            handshakes: self.handshakes,
            refusal: self.refusal,
            signed: delivery::Signed::default(),
            streams: false,
            is_timed: false,
        };
        plan.signed = plan.covered();
        plan.streams = plan.can_stream();
        plan.is_timed = plan.has_time();
        plan.check(self.body_unsigned)?;
        Ok(Scheme { first: Arc::new(plan), rest: Arc::new([]) })
    }

    fn place_of_signature(&self) -> Result<Where, ConfigError> {
        match (&self.kind, &self.signature, &self.crafted) {
            (Kind::Token(_), Some(_), _) => Err(ConfigError::conflict("a token is no signature: the scheme has both")),
            (Kind::Token(place), None, _) => Ok(Where::Token(place.clone().place()?)),
            #[cfg(feature = "jwt")]
            (Kind::Jwt(_), None, None) => Ok(Where::Jwt),
            (_, None, Some(crafted)) => Ok(Where::Crafted(crafted.clone())),
            (_, Some(signature), _) => Ok(Where::Signature(signature.clone().plan()?)),
            (_, None, None) => Err(ConfigError::missing("the scheme does not say where the signature is")),
        }
    }

    fn proof(&self) -> Result<Proof, ConfigError> {
        let format = self.key_format;
        let no_secret = || ConfigError::missing("there is no secret");
        let secrets = || self.secrets.clone().ok_or_else(no_secret);
        if !matches!(self.kind, Kind::Mac(_) | Kind::Token(_)) && self.secrets.is_some() {
            return Err(ConfigError::conflict("the scheme has public keys, so a secret means nothing"));
        }
        if matches!(self.kind, Kind::Mac(_) | Kind::Token(_)) && self.public_keys.is_some() {
            return Err(ConfigError::conflict("the scheme has secrets, so a public key means nothing"));
        }
        Ok(match &self.kind {
            &Kind::Mac(kind) => {
                Proof::Mac { kind, keys: secrets()?.into_keys(move |secret| Mac::new(kind, &secret.key(format)?))? }
            }
            Kind::Token(_) => Proof::Token {
                keys: secrets()?.into_keys(move |secret| Ok(Token::of(&secret.key(format)?)))?,
                #[cfg(feature = "testing")]
                secret: secrets()?.first().cloned(),
                #[cfg(feature = "testing")]
                format,
            },
            #[cfg(feature = "asymmetric")]
            &Kind::Public(algorithm) => {
                let keys = self.public_keys.clone().ok_or_else(|| ConfigError::missing("there is no public key"))?;
                Proof::Public { algorithm, keys: keys.into_keys(move |key| PublicKey::new(algorithm, key))? }
            }
            #[cfg(feature = "asymmetric")]
            Kind::Fetched(fetched) => Proof::Fetched(fetched.clone()),
            #[cfg(feature = "jwt")]
            Kind::Jwt(proof) => Proof::Jwt(proof.clone()),
        })
    }
}

impl Plan {
    fn check(&self, body_unsigned: bool) -> Result<(), ConfigError> {
        let template = &self.template;
        let numbered = |place: &Place| matches!(place.spot, Spot::Numbered(_));
        if self.id.iter().chain(&self.event).chain(self.timestamp.iter().map(|it| &it.place)).any(numbered) {
            return Err(ConfigError::conflict("numbered headers are for signatures alone"));
        }
        if !matches!(self.signature, Where::Signature(_) | Where::Crafted(_)) {
            return match self.timestamp {
                Some(_) => Err(ConfigError::conflict("a token signs nothing, so a timestamp would prove nothing")),
                None => Ok(()),
            };
        }
        if template.has(&Piece::Timestamp) && self.timestamp.is_none() {
            return Err(ConfigError::missing("the scheme signs a timestamp and does not say where it is"));
        }
        if self.timestamp.is_some() && !self.signed.timestamp {
            return Err(ConfigError::conflict(
                "the scheme reads a timestamp that is not signed: it would prove nothing",
            ));
        }
        if template.has(&Piece::Id) && self.id.is_none() {
            return Err(ConfigError::missing("the scheme signs an id and does not say where it is"));
        }
        if template.needs_url() && self.url.is_none() {
            return Err(ConfigError::missing("the sender signs the address that it was given: set the public URL"));
        }
        let covered = self.is_crafted() || self.signed.body;
        match (covered, body_unsigned) {
            (false, false) => Err(ConfigError::conflict(
                "the signed template has no {body} and no {params}: anyone could change the body",
            )),
            (true, true) => Err(ConfigError::conflict("the scheme signs the body after all")),
            _ => Ok(()),
        }
    }
}

fn required((name, value): (&'static str, &'static str)) -> Result<(HeaderName, &'static str), ConfigError> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Ok((name, value)),
        Err(_) => Err(ConfigError::invalid("a header name is not valid")),
    }
}

/// Reads a field of a verified form body.
fn form_text(body: &[u8], field: &str) -> Option<Text> {
    let value = urlencoded::field(body, field, crate::Reason::MalformedBody).ok()??;
    Some(String::from_utf8(value.into_owned()).ok()?.into())
}

impl fmt::Debug for SchemeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeBuilder")
            .field("signature", &self.signature)
            .field("timestamp", &self.timestamp)
            .field("template", &self.template)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}
