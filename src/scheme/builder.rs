//! The builder of schemes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::behavior::Behavior;
use crate::body_fields::BodyFields;
#[cfg(feature = "inspect")]
use crate::clues::Clues;
use crate::config::ConfigError;
use crate::delivery::Signed;
#[cfg(feature = "jwt")]
use crate::jwt::Jwks;
#[cfg(feature = "paypal")]
use crate::key_lookup::FetchKey;
#[cfg(all(feature = "asymmetric", feature = "fetch"))]
use crate::key_lookup::KeyLookup;
use crate::mac::Mac;
use crate::public_url::PublicUrl;
use crate::rejection::Rejection;
use crate::secrets::{KeyFormat, Secret, Secrets};
use crate::text::Text;

use super::any_form::AnyForm;
use super::body_hash::BodyHash;
use super::custom::{CustomProof, Rule};
use super::form::Form;
use super::scheme::{Inner, Scheme, Several};
use super::settings::Settings;
use super::several::SEVERAL;
use super::source::{SignatureSpec, Source, TimestampSpec};
use super::template::{CustomPiece, Values, Written};
use crate::handshake::Handshake;
use crate::place::header_name;

/// Builds a [`Scheme`]. Errors are returned by [`build`](Self::build).
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct SchemeBuilder {
    /// Makes a form of the settings, by the kind of proof that the builder was made for.
    make: Arc<Make>,
    settings: Settings,
    /// The first setting that was not valid.
    fault: Option<ConfigError>,
    body_limit: Option<usize>,
    handshakes: Vec<Handshake>,
    refusal: Option<StatusCode>,
    unsigned: Option<StatusCode>,
    behavior: Behavior,
    /// Other forms in which the sender signs.
    others: Vec<Self>,
    several: Option<&'static Several>,
}

type Make = dyn Fn(&mut Settings) -> Result<AnyForm, ConfigError> + Send + Sync;

/// Defines setters of one field each.
macro_rules! setters {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident($self:ident, $value:ident: $type:ty) $($field:ident).+ = $into:expr;)*) => {$(
        $(#[$meta])*
        $visibility fn $name(mut $self, $value: $type) -> Self {
            $self.$($field).+ = $into;
            $self
        }
    )*};
}

impl SchemeBuilder {
    pub(super) fn new(make: impl Fn(&mut Settings) -> Result<AnyForm, ConfigError> + Send + Sync + 'static) -> Self {
        let settings = Settings { methods: vec![Method::POST], ..Settings::default() };
        Self {
            make: Arc::new(make),
            settings,
            fault: None,
            body_limit: None,
            handshakes: Vec::new(),
            refusal: None,
            unsigned: None,
            behavior: Behavior::UNKNOWN,
            others: Vec::new(),
            several: None,
        }
    }

    /// Describes a sender that signs with a MAC, by a rule of its own. `key` makes the key from a
    /// secret.
    pub(crate) fn rule(rule: impl Rule, key: fn(&[u8]) -> Result<Mac, ConfigError>) -> Self {
        let rule: Arc<dyn Rule> = Arc::new(rule);
        Self::new(move |settings| {
            let proof = CustomProof { rule: rule.clone(), keys: settings.keys(key)? };
            Form::new(settings, proof).map(AnyForm::other)
        })
    }

    /// Takes what is valid, and keeps the first fault, with the name of its setting.
    fn take<T>(&mut self, name: &str, setting: Result<T, ConfigError>) -> Option<T> {
        setting.map_err(|fault| self.fault.get_or_insert_with(|| fault.with_setting(name)).clone()).ok()
    }

    setters! {
        /// Sets where the signature is. Required, unless the scheme is a [token](Scheme::token).
        pub fn signature(self, signature: SignatureSpec) settings.signature = self.take("signature", signature.0);

        /// Sets where the timestamp is, if the sender signs one. It must then be part of what is
        /// signed.
        pub fn timestamp(self, timestamp: TimestampSpec) settings.fields.timestamp = self.take("timestamp", timestamp.0);

        /// Sets what is signed. The default is `{body}` alone.
        ///
        /// | piece | is |
        /// |---|---|
        /// | `{body}` | the body's bytes |
        /// | `{timestamp}`, `{id}` | the text at those places, as it was received |
        /// | `{method}` | the method |
        /// | `{url}` | the [public address](Self::with_public_url) with path and query, byte for byte |
        /// | `{path}`, `{query}` | those parts as they were requested, without the `?` |
        /// | `{path_and_query}` | the two as they were requested, with the `?` if there is a query |
        /// | `{header:x-name}` | a header's value; it must be there once |
        /// | `{query:name}`, `{form:name}` | a parameter of the query or a field of a form body, decoded |
        /// | `{json:/pointer}` | a string, whole number or boolean in a JSON body |
        /// | `{body_sha256}`, `{body_sha256:base64}` | the SHA-256 of the body, in lower-case hexadecimal or base64 |
        /// | `{params}` | the fields of a form body, sorted by name, name and value without separators |
        ///
        /// Anything else is literal text. The text must cover the body by `{body}`, `{params}` or
        /// `{body_sha256}`, or else by a [hash](Self::with_body_hash).
        pub fn signed(self, template: impl Into<Cow<'static, str>>) settings.template = Some(Written::new(template.into()));

        /// Sets where the SHA-256 of the body is, in a place that is signed. The body is compared with
        /// it.
        pub fn with_body_hash(self, hash: SignatureSpec) settings.body_hash = self.take("body_hash", hash.0).map(BodyHash::new);

        /// Sets where the id of the event or delivery is. It is required in a request only if it is
        /// signed.
        pub fn id(self, id: Source) settings.fields.id = self.take("id", id.0);

        /// Sets where the event's name is.
        pub fn event(self, event: Source) settings.fields.event = self.take("event", event.0);

        /// Sets the secret, or several.
        pub fn secret(self, secrets: impl Into<Secrets>) settings.secrets = Some(secrets.into());

        /// Sets the sender's public key, or several: PEM, or the SubjectPublicKeyInfo or the bare key
        /// in base64 or hexadecimal, or `whpk_` and base64.
        /// [`Secret::from_bytes`](crate::Secret::from_bytes) takes the bytes themselves.
        #[cfg(feature = "asymmetric")]
        pub fn with_public_key(self, keys: impl Into<Secrets>) settings.public_keys = Some(keys.into());

        /// Sets where the issuer of [tokens](Scheme::jwt) publishes its keys.
        #[cfg(feature = "jwt")]
        pub fn with_jwks(self, keys: Jwks) settings.jwks = Some(keys);

        /// Sets where a request names its key, for a sender whose keys are looked up.
        #[cfg(any(feature = "asymmetric", feature = "jwt"))]
        #[cfg_attr(not(feature = "asymmetric"), allow(dead_code))]
        pub(crate) fn key_id(self, id: Source) settings.key_id = self.take("key_id", id.0);

        /// Looks public keys up by the `keyid` of an [HTTP Message Signature](Scheme::message_signature).
        #[cfg(all(feature = "asymmetric", feature = "fetch"))]
        pub fn with_keyid_lookup(self, keys: KeyLookup) settings.key_lookup = Some(keys);

        /// Sets how to fetch the key that a request says where it is.
        #[cfg(feature = "paypal")]
        pub(crate) fn fetched_keys(self, keys: Arc<dyn FetchKey>) settings.fetched_keys = Some(keys);

        /// Sets how the sender's secret text stands for key bytes. The default is the text itself.
        pub fn with_key_format(self, format: KeyFormat) settings.key_format = Some((format, Secret::key));

        /// Sets the methods that the sender uses. The default is `POST` alone.
        pub fn with_methods(self, methods: impl IntoIterator<Item = Method>) settings.methods = methods.into_iter().collect();

        /// Sets the largest body that the sender sends, in bytes. The default is the largest that
        /// [`with_behavior`](Self::with_behavior) names, but at least
        /// [`DEFAULT_BODY_LIMIT`](crate::provider::DEFAULT_BODY_LIMIT).
        pub fn with_body_limit(self, bytes: usize) body_limit = Some(bytes);

        /// Sets the address that the sender was given, up to where the path begins that this service
        /// sees: `https://hooks.example.com`. The requested path and query are appended byte for byte.
        pub fn with_public_url(self, base: &str) settings.public_url = self.take("public_url", PublicUrl::base(base));

        /// Sets the status of every permanent rejection, for senders that look for one status alone.
        pub fn with_refusal_status(self, status: StatusCode) refusal = Some(status);

        /// Sets the status of a request without a signature, for senders that then send it again with
        /// one.
        #[cfg_attr(not(feature = "jwt"), allow(dead_code))]
        pub(crate) fn with_unsigned_status(self, status: StatusCode) unsigned = Some(status);

        /// Sets how the sender behaves around its requests.
        pub fn with_behavior(self, behavior: Behavior) behavior = behavior;
    }

    /// Looks the sender's public key up by the id at this place of the head. The id is not signed:
    /// any key that the look-up returns is the sender's.
    #[cfg(all(feature = "asymmetric", feature = "fetch"))]
    #[inline]
    pub fn with_key_lookup(self, id: Source, keys: KeyLookup) -> Self {
        self.key_id(id).with_keyid_lookup(keys)
    }

    /// Adds a piece to those that the template may name. What it covers counts as signed; if that
    /// is the body, the piece is a digest of it. Without a timestamp in the values, `write`
    /// leaves the time out.
    pub(crate) fn with_piece(
        mut self,
        name: &'static str,
        covers: Signed,
        write: impl Fn(&Values<'_>) -> Result<Vec<u8>, Rejection> + Send + Sync + 'static,
    ) -> Self {
        self.settings.pieces.push(Arc::new(CustomPiece { name, covers, write: Box::new(write) }));
        self
    }

    /// Tells which address a piece of the sender's own holds, without what may be secret in it: a
    /// mismatch may be due to it.
    pub(crate) fn with_shown_address(
        mut self,
        address: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.settings.address = Some(Arc::new(address));
        self
    }

    /// Sets what is signed, for the few senders that don't sign their body: anyone who has seen one
    /// signed request can send any body with its signature.
    pub fn signed_without_the_body(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.settings.template = Some(Written::new(template.into()));
        self.settings.body_unsigned = true;
        self
    }

    /// Sets how to find, in a verified body, the id that stays the same over the sender's retries,
    /// if the one that [`id`](Self::id) names does not. It is called only when
    /// [`Delivery::identity`](crate::Delivery::identity) is.
    pub fn with_identity(self, choose: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.change_fields(|fields| fields.with_identity(choose))
    }

    /// Sets the JSON pointer of the id that stays the same over the sender's retries, if the one
    /// that [`id`](Self::id) names does not.
    pub fn with_identity_at(self, pointer: impl Into<Text>) -> Self {
        self.change_fields(|fields| fields.with_identity_at(pointer))
    }

    /// Sets the JSON pointers of several values, and how they are joined into the id that stays the
    /// same over the sender's retries.
    pub fn with_identity_from<T: Into<Text>>(
        self,
        pointers: impl IntoIterator<Item = T>,
        join: impl Fn(&[Option<Cow<'_, str>>]) -> Option<Text> + Send + Sync + 'static,
    ) -> Self {
        self.change_fields(|fields| fields.with_identity_from(pointers, join))
    }

    fn change_fields(mut self, change: impl FnOnce(BodyFields) -> BodyFields) -> Self {
        BodyFields::change(&mut self.settings.in_body, change);
        self
    }

    #[inline]
    pub(crate) fn at(mut self, url: PublicUrl) -> Self {
        self.settings.public_url = Some(url);
        self
    }

    /// Takes the address from `X-Forwarded-Proto` and `X-Forwarded-Host` (or `Host`), unless one is
    /// [set](Self::with_public_url). Use it only for a service that can be reached through such a
    /// proxy alone: other clients can write anything there.
    #[inline]
    pub fn with_trusted_forwarded_headers(mut self) -> Self {
        self.settings.public_url.get_or_insert(PublicUrl::Forwarded);
        self
    }

    /// Adds a question that the sender asks beside its deliveries.
    #[inline]
    pub fn with_handshake(mut self, handshake: Handshake) -> Self {
        self.handshakes.push(handshake);
        self
    }

    /// Requires a header to have exactly this value, such as the name of the method that the sender
    /// signed by.
    pub fn with_required_header(mut self, header: impl Into<String>, value: impl Into<String>) -> Self {
        let header = self.take("required_headers", header_name(&header.into()));
        let value = HeaderValue::try_from(value.into());
        let value = value.map_err(|_| ConfigError::invalid("a header value is not valid"));
        let value = self.take("required_headers", value);
        self.settings.fields.required.extend(header.zip(value));
        self
    }

    /// Chooses the requests that this form of signing is for. `about` says the same in a table.
    #[inline]
    pub(crate) fn only_if(mut self, about: &'static str, applies: fn(&Parts) -> bool) -> Self {
        self.settings.applies = Some((about, applies));
        self
    }

    /// Adds another form in which the sender signs, with the same secrets.
    #[inline]
    pub(crate) fn or(mut self, other: Self) -> Self {
        self.others.push(other);
        self.several = Some(SEVERAL);
        self
    }

    /// Checks the scheme and gives it a name, in `snake_case`.
    ///
    /// # Errors
    ///
    /// Returns an error if something is missing, empty or undecodable, or contradicts itself. The
    /// message names the fault.
    pub fn build(self, name: impl Into<Text>) -> Result<Scheme, ConfigError> {
        self.build_named(name.into())
    }

    fn build_named(mut self, name: Text) -> Result<Scheme, ConfigError> {
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            let message = "a provider's name is snake_case: a to z, 0 to 9 and _";
            return Err(ConfigError::invalid(message).with_setting("name"));
        }
        #[cfg(feature = "inspect")]
        let builder: Arc<dyn std::any::Any + Send + Sync> = Arc::new(self.clone());
        let mut forms = vec![self.form()?];
        for mut other in std::mem::take(&mut self.others) {
            other.settings.secrets = self.settings.secrets.clone();
            other.settings.public_url = self.settings.public_url.clone();
            forms.push(other.form()?);
            // What one form verified may be verified by another when it is repeated, and so by another code.
            forms.iter_mut().for_each(AnyForm::leave_body_unnamed);
        }
        if self.handshakes.iter().any(Handshake::needs_signed_body) && !forms.iter().all(AnyForm::signs_body_itself) {
            return Err(ConfigError::conflict(
                "a challenge is answered with a MAC, which could be the signature of a request: the signed template has no {body}",
            ));
        }
        let mut handshakes = self.handshakes;
        for handshake in &mut handshakes {
            handshake.by_keys_of(forms[0].mac_keys());
        }
        Ok(Scheme(Arc::new(Inner {
            name,
            body_limit: self.body_limit.unwrap_or(self.behavior.body_limit()),
            behavior: self.behavior,
            handshakes,
            refusal: self.refusal,
            unsigned: self.unsigned,
            is_timed: forms.iter().any(AnyForm::is_timed),
            shares_head: forms.iter().any(AnyForm::shares_head),
            forms,
            several: self.several,
            #[cfg(feature = "inspect")]
            clues: Clues {
                public_url: self.settings.public_url.as_ref().and_then(PublicUrl::as_base),
                builder: Some(builder),
                ..Clues::default().with_secrets(self.settings.secrets.as_ref())
            },
        })))
    }

    /// Makes the form. What it is made of is taken from the settings.
    fn form(&mut self) -> Result<AnyForm, ConfigError> {
        self.fault.take().map_or(Ok(()), Err)?;
        (self.make)(&mut self.settings)
    }
}

impl fmt::Debug for SchemeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeBuilder")
            .field("template", &self.settings.template.as_ref().map_or("{body}", |template| &template.text))
            .finish_non_exhaustive()
    }
}
