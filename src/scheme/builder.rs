//! The builder of schemes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::behavior::Behavior;
use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::multipart;
use crate::rejection::Reason;
use crate::secrets::{KeyFormat, Secrets};
use crate::text::Text;
use crate::urlencoded;

use super::form::{Fields, Form};
use super::handshake::Handshake;
use super::place::Spot;
use super::proof::{AnyForm, Proof};
use super::signature::{Signature, SignatureSpec};
use super::source::{Source, header_name};
use super::timestamp::TimestampSpec;
use super::{Inner, Scheme};
use crate::public_url::PublicUrl;

/// Builds a [`Scheme`]. Nothing is checked before [`build`](Self::build).
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct SchemeBuilder {
    /// Makes a form of these settings, by the kind of proof that the builder was made for.
    make: Arc<Make>,
    methods: Vec<Method>,
    body_limit: Option<usize>,
    applies: Option<(&'static str, fn(&Parts) -> bool)>,
    pub(super) empty_body: bool,
    pub(super) signature: Option<SignatureSpec>,
    required: Vec<(String, String)>,
    pub(super) timestamp: Option<TimestampSpec>,
    pub(super) id: Option<Source>,
    event: Option<Source>,
    in_body: BodyFields,
    pub(super) template: Cow<'static, str>,
    pub(super) body_unsigned: bool,
    pub(super) body_hash: Option<SignatureSpec>,
    pub(super) public_url: Option<Result<PublicUrl, ConfigError>>,
    handshakes: Vec<Handshake>,
    refusal: Option<StatusCode>,
    unsigned: Option<StatusCode>,
    behavior: Behavior,
    pub(super) key_format: KeyFormat,
    secrets: Option<Secrets>,
    public_keys: Option<Secrets>,
    others: Vec<Self>,
}

type Make = dyn Fn(&SchemeBuilder) -> Result<AnyForm, ConfigError> + Send + Sync;

impl SchemeBuilder {
    pub(super) fn new(make: impl Fn(&Self) -> Result<AnyForm, ConfigError> + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(make),
            methods: vec![Method::POST],
            body_limit: None,
            applies: None,
            empty_body: false,
            signature: None,
            required: Vec::new(),
            timestamp: None,
            id: None,
            event: None,
            in_body: BodyFields::new(),
            template: Cow::Borrowed("{body}"),
            body_unsigned: false,
            body_hash: None,
            public_url: None,
            handshakes: Vec::new(),
            refusal: None,
            unsigned: None,
            behavior: Behavior::UNKNOWN,
            key_format: KeyFormat::Text,
            secrets: None,
            public_keys: None,
            others: Vec::new(),
        }
    }

    /// Sets where the signature is. Required, unless the scheme is a [token](Scheme::token).
    pub fn signature(mut self, signature: SignatureSpec) -> Self {
        self.signature = Some(signature);
        self
    }

    /// Sets where the timestamp is, if the sender signs one. It must then be part of what is signed.
    pub fn timestamp(mut self, timestamp: TimestampSpec) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Sets what is signed. The default is `{body}` alone.
    ///
    /// | piece | is |
    /// |---|---|
    /// | `{body}` | the body's bytes |
    /// | `{timestamp}`, `{id}` | the text at those places, as it was received |
    /// | `{method}` | the method |
    /// | `{url}` | the [public address](Self::with_public_url) with path and query, byte for byte |
    /// | `{path}`, `{query}` | those parts as they were requested, without the `?` |
    /// | `{header:x-name}` | a header's value; it must be there once |
    /// | `{params}` | the fields of a form body, sorted by name, name and value without separators |
    ///
    /// Anything else is literal text. The text must cover the body by `{body}` or `{params}`, or else by a
    /// [hash](Self::with_body_hash).
    pub fn signed(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.template = template.into();
        self
    }

    /// Sets what is signed, for the few senders that don't sign their body: anyone who has seen one signed request can send
    /// any body with its signature.
    pub fn signed_without_the_body(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.template = template.into();
        self.body_unsigned = true;
        self
    }

    /// Sets where the SHA-256 of the body is, in a place that is signed. The body is compared with it.
    pub fn with_body_hash(mut self, hash: SignatureSpec) -> Self {
        self.body_hash = Some(hash);
        self
    }

    /// Sets where the id of the event or delivery is. It is required in a request only if it is signed.
    pub fn id(mut self, id: Source) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets where the event's name is.
    pub fn event(mut self, event: Source) -> Self {
        self.event = Some(event);
        self
    }

    /// Sets how to find, in a verified body, the id that stays the same over the sender's retries, if the one that
    /// [`id`](Self::id) names does not. It is called only when [`Delivery::identity`](crate::Delivery::identity) is.
    pub fn with_identity(mut self, choose: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.in_body = self.in_body.with_identity(choose);
        self
    }

    /// Sets the secret, or several.
    pub fn secret(mut self, secrets: impl Into<Secrets>) -> Self {
        self.secrets = Some(secrets.into());
        self
    }

    /// Sets the sender's public key, or several: PEM, or the SubjectPublicKeyInfo or the bare key in base64 or hexadecimal,
    /// or `whpk_` and base64. [`Secret::from_bytes`](crate::Secret::from_bytes) takes the bytes themselves.
    #[cfg(feature = "asymmetric")]
    pub fn with_public_key(mut self, keys: impl Into<Secrets>) -> Self {
        self.public_keys = Some(keys.into());
        self
    }

    /// Sets how the sender's secret text stands for key bytes. The default is the text itself.
    pub fn with_key_format(mut self, format: KeyFormat) -> Self {
        self.key_format = format;
        self
    }

    /// Sets the methods that the sender uses. The default is `POST` alone.
    pub fn with_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// Sets the largest body that the sender sends, in bytes. The default is the largest that
    /// [`with_behavior`](Self::with_behavior) names, but at least [`DEFAULT_BODY_LIMIT`](crate::provider::DEFAULT_BODY_LIMIT).
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Sets the address that the sender was given, up to where the path begins that this service sees:
    /// `https://hooks.example.com`. The requested path and query are appended byte for byte.
    pub fn with_public_url(mut self, base: &str) -> Self {
        self.public_url = Some(PublicUrl::base(base));
        self
    }

    pub(crate) fn at(mut self, url: PublicUrl) -> Self {
        self.public_url = Some(Ok(url));
        self
    }

    /// Takes the address from `X-Forwarded-Proto` and `X-Forwarded-Host` (or `Host`), unless one is
    /// [set](Self::with_public_url). Use it only for a service that can be reached through such a proxy alone: other clients can
    /// write anything there.
    pub fn with_trusted_forwarded_headers(mut self) -> Self {
        self.public_url.get_or_insert(Ok(PublicUrl::Forwarded));
        self
    }

    /// Adds a question that the sender asks beside its deliveries.
    pub fn with_handshake(mut self, handshake: Handshake) -> Self {
        self.handshakes.push(handshake);
        self
    }

    /// Requires a header to have exactly this value, such as the name of the method that the sender signed by.
    pub fn with_required_header(mut self, header: impl Into<String>, value: impl Into<String>) -> Self {
        self.required.push((header.into(), value.into()));
        self
    }

    /// Sets the status of every permanent rejection, for senders that look for one status alone.
    pub fn with_refusal_status(mut self, status: StatusCode) -> Self {
        self.refusal = Some(status);
        self
    }

    /// Sets the status of a request without a signature, for senders that then send it again with one.
    #[cfg_attr(not(feature = "jwt"), allow(dead_code))]
    pub(crate) fn with_unsigned_status(mut self, status: StatusCode) -> Self {
        self.unsigned = Some(status);
        self
    }

    /// Sets how the sender behaves around its requests.
    pub fn with_behavior(mut self, behavior: Behavior) -> Self {
        self.behavior = behavior;
        self
    }

    /// Chooses the requests that this form of signing is for. `about` says the same in a table.
    pub(crate) fn only_if(mut self, about: &'static str, applies: fn(&Parts) -> bool) -> Self {
        self.applies = Some((about, applies));
        self
    }

    /// Accepts only requests without a body, so that the signature needn't cover it.
    pub(crate) fn empty_body(mut self) -> Self {
        self.empty_body = true;
        self
    }

    /// Adds another form in which the sender signs, with the same secrets.
    pub(crate) fn or(mut self, other: Self) -> Self {
        self.others.push(other);
        self
    }

    /// Checks the scheme and gives it a name, in `snake_case`.
    ///
    /// # Errors
    ///
    /// Returns an error if something is missing, empty or undecodable, or contradicts itself. The message names the fault.
    pub fn build(mut self, name: impl Into<Text>) -> Result<Scheme, ConfigError> {
        let name = name.into();
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(ConfigError::invalid("a provider's name is snake_case: a to z, 0 to 9 and _"));
        }
        let mut forms = vec![(self.make)(&self)?];
        for mut other in std::mem::take(&mut self.others) {
            other.secrets = self.secrets.clone();
            other.public_url = self.public_url.clone();
            forms.push((other.make)(&other)?);
        }
        let handshakes = self.handshakes.into_iter().map(|handshake| handshake.by_keys_of(&forms[0])).collect();
        Ok(Scheme(Arc::new(Inner {
            name,
            body_limit: self.body_limit.unwrap_or(self.behavior.body_limit()),
            behavior: self.behavior,
            handshakes,
            refusal: self.refusal,
            unsigned: self.unsigned,
            is_timed: forms.iter().any(AnyForm::is_timed),
            forms,
        })))
    }

    /// Sets the JSON pointer of the id that stays the same over the sender's retries, if the one that [`id`](Self::id) names
    /// does not.
    pub fn with_identity_at(mut self, pointer: impl Into<Text>) -> Self {
        self.in_body = self.in_body.with_identity_at(pointer);
        self
    }

    /// Sets the JSON pointers of several values, and how they are joined into the id that stays the same over the sender's
    /// retries.
    pub fn with_identity_from<T: Into<Text>>(
        mut self,
        pointers: impl IntoIterator<Item = T>,
        join: impl Fn(&[Option<Cow<'_, str>>]) -> Option<Text> + Send + Sync + 'static,
    ) -> Self {
        self.in_body = self.in_body.with_identity_from(pointers, join);
        self
    }

    /// Makes a form of these settings and a proof.
    pub(super) fn form<P: Proof>(&self, proof: P) -> Result<AnyForm, ConfigError>
    where
        AnyForm: From<Form<P>>,
    {
        if self.methods.is_empty() {
            return Err(ConfigError::missing("the scheme accepts no method"));
        }
        let id = self.id.clone().map(|id| id.0).transpose()?;
        let event = self.event.clone().map(|event| event.0).transpose()?;
        let mut in_body = self.in_body.clone();
        in_body = match id.as_ref().map(|id| id.spot.clone()) {
            Some(Spot::Json(pointer)) => in_body.with_id_at(pointer),
            Some(Spot::Form(field)) => in_body.with_id(move |body| form_field(body, &field)),
            Some(Spot::Part(field)) => in_body.with_id(move |body| part_field(body, field)),
            _ => in_body,
        };
        in_body = match event.as_ref().map(|event| event.spot.clone()) {
            Some(Spot::Json(pointer)) => in_body.with_event_at(pointer),
            Some(Spot::Form(field)) => in_body.with_event(move |body| form_field(body, &field)),
            Some(Spot::Part(field)) => in_body.with_event(move |body| part_field(body, field)),
            _ => in_body,
        };
        let fields = Fields {
            required: self.required.iter().map(required).collect::<Result<_, _>>()?,
            timestamp: self.timestamp.clone().map(|timestamp| timestamp.0).transpose()?,
            id,
            event,
            in_body: in_body.shared(),
            timestamp_in_text: false,
            id_in_text: false,
        };
        let form = Form {
            methods: self.methods.clone(),
            applies: self.applies,
            empty_body: self.empty_body,
            fields,
            signed: Signed::default(),
            covers_more: false,
            proof,
        };
        form.checked(self.body_unsigned).map(Into::into)
    }

    pub(super) fn place_of_signature(&self) -> Result<Signature, ConfigError> {
        let missing = || ConfigError::missing("the scheme does not say where the signature is");
        self.signature.clone().ok_or_else(missing)?.0
    }

    pub(super) fn secrets(&self) -> Result<Secrets, ConfigError> {
        if self.public_keys.is_some() {
            return Err(ConfigError::conflict("the scheme has secrets, so a public key means nothing"));
        }
        self.secrets.clone().ok_or_else(|| ConfigError::missing("there is no secret"))
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn public_keys(&self) -> Result<Secrets, ConfigError> {
        self.no_secrets()?;
        self.public_keys.clone().ok_or_else(|| ConfigError::missing("there is no public key"))
    }

    #[cfg(any(feature = "asymmetric", feature = "jwt"))]
    pub(super) fn no_secrets(&self) -> Result<(), ConfigError> {
        if self.secrets.is_some() {
            return Err(ConfigError::conflict("the scheme has public keys, so a secret means nothing"));
        }
        Ok(())
    }
}

fn required((name, value): &(String, String)) -> Result<(http::HeaderName, HeaderValue), ConfigError> {
    let value = HeaderValue::from_str(value);
    Ok((header_name(name)?, value.map_err(|_| ConfigError::invalid("a header value is not valid"))?))
}

/// Returns a field of a verified form.
fn form_field(body: &[u8], field: &str) -> Option<Text> {
    let value = urlencoded::field(body, field, Reason::MalformedBody).ok()??;
    Some(String::from_utf8(value.into_owned()).ok()?.into())
}

/// Returns a field of a verified multipart form.
fn part_field(body: &[u8], field: &str) -> Option<Text> {
    Some(std::str::from_utf8(multipart::field(body, field).ok()??).ok()?.to_owned().into())
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
