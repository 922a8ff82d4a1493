//! A sender that is not built in, as data.

use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "jwt")]
use std::time::Duration;

use http::{Method, StatusCode};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::ConfigError;
#[cfg(feature = "jwt")]
use crate::scheme::JwtRules;
use crate::scheme::{Handshake, Scheme, SchemeBuilder, Source};
use crate::secrets::{KeyFormat, Secret};
use crate::text::Text;
#[cfg(feature = "jwt")]
use crate::time::Tolerance;

use super::message_signature::MessageSignature;
use super::place::{Place, Written};

/// A sender that is not built in, in the words of [`SchemeBuilder`]: see
/// [`SenderConfig::scheme`](super::SenderConfig::scheme).
///
/// | key | is |
/// |---|---|
/// | `name` | the sender's name, in `snake_case` |
/// | `algorithm` | `hmac_sha256`, `hmac_sha384`, `hmac_sha512`, `hmac_sha1`, `token`, `ed25519`, `ecdsa_p256`, `ecdsa_p384`, `ecdsa_p256_sha1`, `rsa_pkcs1_sha256`, `rsa_pkcs1_sha384`, `rsa_pkcs1_sha512`, `rsa_pss_sha256`, `rsa_pss_sha384`, `rsa_pss_sha512`, `jwt` or `message_signature` |
/// | `jwt` | what the tokens of the algorithm `jwt` must be |
/// | `message_signature` | what the signatures of the algorithm `message_signature` must be |
/// | `signature` | a place with its `encoding`; of a `token` or `jwt`, a place; a `message_signature` has its own |
/// | `other_signatures` | further places of a signature in the same encoding |
/// | `timestamp` | a place with its `format`, and `tolerance_seconds` |
/// | `signed` | the [template](SchemeBuilder::signed) of what is signed; by default `{body}` |
/// | `body_is_not_signed` | `true` if the template covers no body, which lets anyone who has seen one request change it |
/// | `body_hash` | a place with its `encoding`, of the [hash](SchemeBuilder::with_body_hash) of the body |
/// | `id`, `event` | their places |
/// | `identity` | the JSON pointer of the id that stays the same over retries, if `id` doesn't |
/// | `key_format` | `text`, `hex`, `base64` or `standard_webhooks`: how a secret stands for a key |
/// | `methods` | the methods that the sender uses; by default `["POST"]` |
/// | `required_headers` | headers and their exact values |
/// | `refusal_status` | the [status of every permanent rejection](SchemeBuilder::with_refusal_status) |
/// | `handshakes` | what the sender asks beside its deliveries |
///
/// A place is one of `{"header": "x-name"}`, `{"numbered_headers": "x-name-"}`, `{"query":
/// "name"}`, `{"form": "name"}`, `{"json": "/pointer"}`, `{"bearer": true}`, `{"basic": true}` and
/// `{"path_segment": true}`, with a `prefix` and, of a list, its separator: `"list": ","`, or two
/// for a list of lists: `"list": ", "`; of a signature, `behind` says what ends the id of the key
/// in front of it: `"behind": ":"`. Encodings are `hex`, `hex_any_case`, `base64` and `base64url`,
/// formats `unix_seconds`, `unix_millis` and `rfc3339`.
///
/// The rules of a token (feature `jwt`) are those of `scheme::JwtRules`:
/// `algorithm` (`hs256`, `hs384`, `hs512`, `rs256`, `rs384`, `rs512`, `ps256`, `ps384`, `ps512`,
/// `es256`, `es384` or `eddsa`), `issuer`, `audience`, `claims` (`{"name": ["value"]}`),
/// `true_claims`, `body_sha256` (`{"claim": "name", "encoding": "hex"}`), `id_claim`,
/// `event_claim`, `issued_within_seconds`, `requires_expiry`, `leeway_seconds` and
/// `detached_payload`. Keys are `secrets`, `public_keys` or those at `jwks_url`; the place
/// `{"body": true}` is the whole body.
///
/// The rules of an HTTP Message Signature (RFC 9421, feature `asymmetric`) are those of
/// `scheme::MessageRules`: `algorithm` (`hmac_sha256`, `ed25519`,
/// `ecdsa_p256`, `ecdsa_p384`, `rsa_pss_sha512` or `rsa_v1_5_sha256`), `covering` (what must be
/// signed; by default `["content-digest"]`), `tag` and `tolerance_seconds`. Keys are `secrets` or
/// `public_keys`.
///
/// A handshake is one of `{"query_echo": "name"}`, `{"header_to_json": {"header": "x-name",
/// "member": "name"}}`, `{"subscribe": "token"}`, `{"allow_origins": ["name"]}`, `{"probe":
/// ["HEAD", "GET"]}`.
#[derive(Clone, Debug)]
pub struct SchemeConfig(Words);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    name: Text,
    algorithm: Algorithm,
    jwt: Option<Jwt>,
    message_signature: Option<MessageSignature>,
    /// Required, unless the algorithm is `message_signature`.
    signature: Option<Place>,
    #[serde(default)]
    other_signatures: Vec<Place>,
    timestamp: Option<Place>,
    signed: Option<String>,
    #[serde(default)]
    body_is_not_signed: bool,
    body_hash: Option<Place>,
    id: Option<Place>,
    event: Option<Place>,
    identity: Option<Text>,
    key_format: Option<Key>,
    methods: Option<Vec<Text>>,
    #[serde(default)]
    required_headers: BTreeMap<String, String>,
    refusal_status: Option<u16>,
    #[serde(default)]
    handshakes: Vec<Question>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
    HmacSha1,
    Token,
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    EcdsaP256Sha1,
    RsaPkcs1Sha256,
    RsaPkcs1Sha384,
    RsaPkcs1Sha512,
    RsaPssSha256,
    RsaPssSha384,
    RsaPssSha512,
    Jwt,
    MessageSignature,
}

/// What a token must be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "read in every configuration"))]
struct Jwt {
    algorithm: Option<JwtAlgorithm>,
    issuer: Option<String>,
    audience: Option<String>,
    claims: BTreeMap<String, Vec<String>>,
    true_claims: Vec<String>,
    body_sha256: Option<BodySha256>,
    id_claim: Option<String>,
    event_claim: Option<String>,
    issued_within_seconds: Option<u64>,
    requires_expiry: bool,
    leeway_seconds: Option<u64>,
    detached_payload: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Eddsa,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "read in every configuration"))]
struct BodySha256 {
    claim: String,
    encoding: Written,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    Text,
    Hex,
    Base64,
    StandardWebhooks,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Question {
    QueryEcho(String),
    HeaderToJson { header: String, member: String },
    Subscribe(Secret),
    AllowOrigins(Vec<String>),
    Probe(Vec<Text>),
}

impl<'de> Deserialize<'de> for SchemeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = SchemeConfig;

            #[inline]
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the rules of a sender")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SchemeConfig, A::Error> {
                let words = Words::deserialize(MapAccessDeserializer::new(map))?;
                if words.signature.is_none() && words.algorithm != Algorithm::MessageSignature {
                    return Err(A::Error::missing_field("signature"));
                }
                Ok(SchemeConfig(words))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

impl SchemeConfig {
    #[inline]
    pub(crate) fn name(&self) -> &Text {
        &self.0.name
    }

    /// Returns whether the sender signs with a private key.
    #[inline]
    pub(crate) fn is_asymmetric(&self) -> bool {
        match self.0.algorithm {
            Algorithm::HmacSha256 | Algorithm::HmacSha384 | Algorithm::HmacSha512 | Algorithm::HmacSha1 => false,
            Algorithm::Token => false,
            Algorithm::Jwt => !self.0.jwt.as_ref().is_some_and(Jwt::is_shared),
            Algorithm::MessageSignature => !self.0.message_signature.as_ref().is_some_and(MessageSignature::is_shared),
            _ => true,
        }
    }

    /// Returns whether the sender signs with tokens.
    #[cfg(feature = "jwt")]
    #[inline]
    pub(crate) fn is_jwt(&self) -> bool {
        self.0.algorithm == Algorithm::Jwt
    }

    /// Returns a builder that lacks the keys and the public URL.
    #[inline]
    pub(crate) fn builder(self) -> Result<SchemeBuilder, ConfigError> {
        self.0.builder()
    }
}

impl Words {
    #[inline]
    fn builder(mut self) -> Result<SchemeBuilder, ConfigError> {
        let at = |key: &'static str| move |error: ConfigError| error.with_setting(key);
        if self.jwt.is_some() != (self.algorithm == Algorithm::Jwt) {
            let message = "`jwt` belongs to the algorithm jwt, which needs it";
            return Err(ConfigError::conflict(message).with_setting("algorithm"));
        }
        if self.message_signature.is_some() != (self.algorithm == Algorithm::MessageSignature) {
            let message = "`message_signature` belongs to the algorithm message_signature, which needs it";
            return Err(ConfigError::conflict(message).with_setting("algorithm"));
        }
        let mut builder = if let Some(rules) = self.message_signature.take() {
            self.only_message_signature()?;
            rules.builder().map_err(at("message_signature"))?
        } else {
            self.signed_builder()?
        };
        if let Some(timestamp) = self.timestamp {
            builder = builder.timestamp(timestamp.timestamp().map_err(at("timestamp"))?);
        }
        builder = match (self.signed, self.body_is_not_signed) {
            (Some(template), true) => builder.signed_without_the_body(template),
            (Some(template), false) => builder.signed(template),
            // What is signed is what the rules of the signature say.
            (None, true) if self.algorithm == Algorithm::MessageSignature => builder.signed_without_the_body(""),
            (None, true) => {
                return Err(ConfigError::missing("`signed` is missing: without it, the body is what is signed"));
            }
            (None, false) => builder,
        };
        if let Some(hash) = self.body_hash {
            builder = builder.with_body_hash(hash.signature().map_err(at("body_hash"))?);
        }
        if let Some(id) = self.id {
            builder = builder.id(id.source().map_err(at("id"))?);
        }
        if let Some(event) = self.event {
            builder = builder.event(event.source().map_err(at("event"))?);
        }
        if let Some(pointer) = self.identity {
            builder = builder.with_identity_at(pointer);
        }
        if let Some(format) = self.key_format {
            builder = builder.with_key_format(match format {
                Key::Text => KeyFormat::Text,
                Key::Hex => KeyFormat::Hex,
                Key::Base64 => KeyFormat::Base64,
                Key::StandardWebhooks => KeyFormat::StandardWebhooks,
            });
        }
        if let Some(names) = self.methods {
            builder = builder.with_methods(methods(&names).map_err(at("methods"))?);
        }
        for (name, value) in self.required_headers {
            builder = builder.with_required_header(name, value);
        }
        if let Some(code) = self.refusal_status {
            let status = StatusCode::from_u16(code).ok().filter(|status| status.is_client_error());
            let invalid =
                || ConfigError::invalid("the status of a refusal is 400 to 499").with_setting("refusal_status");
            builder = builder.with_refusal_status(status.ok_or_else(invalid)?);
        }
        for question in self.handshakes {
            builder = builder.with_handshake(question.handshake().map_err(at("handshakes"))?);
        }
        Ok(builder)
    }

    /// Returns a builder for a signature at a place of its own.
    #[inline]
    fn signed_builder(&mut self) -> Result<SchemeBuilder, ConfigError> {
        let at = |key: &'static str| move |error: ConfigError| error.with_setting(key);
        let place = self.signature.take().ok_or_else(|| ConfigError::missing("`signature` is missing"))?;
        if self.algorithm == Algorithm::Token {
            return Ok(Scheme::token(place.source().map_err(at("signature"))?));
        }
        if let Some(jwt) = self.jwt.take() {
            return jwt.builder(place.source().map_err(at("signature"))?).map_err(at("jwt"));
        }
        let mut signature = place.signature().map_err(at("signature"))?;
        for place in std::mem::take(&mut self.other_signatures) {
            signature = signature.or(place.source().map_err(at("other_signatures"))?);
        }
        Ok(self.algorithm.builder().map_err(at("algorithm"))?.signature(signature))
    }

    /// Refuses what an HTTP Message Signature says itself.
    #[inline]
    fn only_message_signature(&self) -> Result<(), ConfigError> {
        let misplaced = [
            ("signature", self.signature.is_some()),
            ("other_signatures", !self.other_signatures.is_empty()),
            ("timestamp", self.timestamp.is_some()),
            ("signed", self.signed.is_some()),
            ("body_hash", self.body_hash.is_some()),
        ];
        match misplaced.iter().find(|(_, misplaced)| *misplaced) {
            Some((key, _)) => {
                let message = format!("`{key}` means nothing here: an HTTP Message Signature says so itself");
                Err(ConfigError::conflict(message).with_setting(key))
            }
            None => Ok(()),
        }
    }
}

impl Algorithm {
    #[inline]
    fn builder(self) -> Result<SchemeBuilder, ConfigError> {
        Ok(match self {
            Self::HmacSha256 => Scheme::hmac_sha256(),
            Self::HmacSha384 => Scheme::hmac_sha384(),
            Self::HmacSha512 => Scheme::hmac_sha512(),
            Self::HmacSha1 => Scheme::hmac_sha1_for_legacy_senders_only(),
            #[cfg(feature = "asymmetric")]
            Self::Ed25519 => Scheme::ed25519(),
            #[cfg(feature = "asymmetric")]
            Self::EcdsaP256 => Scheme::ecdsa_p256(),
            #[cfg(feature = "asymmetric")]
            Self::EcdsaP384 => Scheme::ecdsa_p384(),
            #[cfg(feature = "asymmetric")]
            Self::EcdsaP256Sha1 => Scheme::ecdsa_p256_sha1_for_legacy_senders_only(),
            #[cfg(feature = "asymmetric")]
            Self::RsaPkcs1Sha256 => Scheme::rsa_pkcs1_sha256(),
            #[cfg(feature = "asymmetric")]
            Self::RsaPkcs1Sha384 => Scheme::rsa_pkcs1_sha384(),
            #[cfg(feature = "asymmetric")]
            Self::RsaPkcs1Sha512 => Scheme::rsa_pkcs1_sha512(),
            #[cfg(feature = "asymmetric")]
            Self::RsaPssSha256 => Scheme::rsa_pss_sha256(),
            #[cfg(feature = "asymmetric")]
            Self::RsaPssSha384 => Scheme::rsa_pss_sha384(),
            #[cfg(feature = "asymmetric")]
            Self::RsaPssSha512 => Scheme::rsa_pss_sha512(),
            _ => return Err(ConfigError::unavailable("this algorithm needs the feature `asymmetric`")),
        })
    }
}

impl Jwt {
    #[inline]
    fn is_shared(&self) -> bool {
        matches!(self.algorithm, Some(JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512))
    }

    #[cfg(not(feature = "jwt"))]
    #[inline]
    fn builder(self, _: Source) -> Result<SchemeBuilder, ConfigError> {
        Err(ConfigError::unavailable("this algorithm needs the feature `jwt`"))
    }

    #[cfg(feature = "jwt")]
    #[inline]
    fn builder(self, place: Source) -> Result<SchemeBuilder, ConfigError> {
        let missing = || ConfigError::missing("`algorithm` of the tokens is missing");
        let mut rules = match self.algorithm.ok_or_else(missing)? {
            JwtAlgorithm::Hs256 => JwtRules::hs256(),
            JwtAlgorithm::Hs384 => JwtRules::hs384(),
            JwtAlgorithm::Hs512 => JwtRules::hs512(),
            JwtAlgorithm::Rs256 => JwtRules::rs256(),
            JwtAlgorithm::Rs384 => JwtRules::rs384(),
            JwtAlgorithm::Rs512 => JwtRules::rs512(),
            JwtAlgorithm::Ps256 => JwtRules::ps256(),
            JwtAlgorithm::Ps384 => JwtRules::ps384(),
            JwtAlgorithm::Ps512 => JwtRules::ps512(),
            JwtAlgorithm::Es256 => JwtRules::es256(),
            JwtAlgorithm::Es384 => JwtRules::es384(),
            JwtAlgorithm::Eddsa => JwtRules::eddsa(),
        };
        let values = self.issuer.map(|issuer| ("iss".to_owned(), vec![issuer])).into_iter();
        let values = values.chain(self.audience.map(|audience| ("aud".to_owned(), vec![audience])));
        for (claim, values) in values.chain(self.claims) {
            rules = rules.with_claim(claim, values);
        }
        for claim in self.true_claims {
            rules = rules.with_true_claim(claim);
        }
        if let Some(BodySha256 { claim, encoding }) = self.body_sha256 {
            rules = rules.with_body_sha256(claim, encoding.into());
        }
        if let Some(claim) = self.id_claim {
            rules = rules.with_id_claim(claim);
        }
        if let Some(claim) = self.event_claim {
            rules = rules.with_event_claim(claim);
        }
        if let Some(seconds) = self.issued_within_seconds {
            rules = rules.with_issued_within(Tolerance::within(Duration::from_secs(seconds)));
        }
        if self.requires_expiry {
            rules = rules.with_required_expiry();
        }
        if let Some(seconds) = self.leeway_seconds {
            rules = rules.with_leeway(Duration::from_secs(seconds));
        }
        if self.detached_payload {
            rules = rules.with_detached_payload();
        }
        Ok(Scheme::jwt(place, rules))
    }
}

impl Question {
    #[inline]
    fn handshake(self) -> Result<Handshake, ConfigError> {
        Ok(match self {
            Self::QueryEcho(parameter) => Handshake::query_echo(Method::GET, parameter),
            Self::HeaderToJson { header, member } => Handshake::header_to_json(header, member),
            Self::Subscribe(token) => Handshake::subscribe(token)?,
            Self::AllowOrigins(origins) => Handshake::allow_origins(origins, None),
            Self::Probe(names) => match methods(&names)?.as_slice() {
                [Method::HEAD] => Handshake::probe(false),
                [Method::HEAD, Method::GET] | [Method::GET, Method::HEAD] => Handshake::probe(true),
                _ => return Err(ConfigError::invalid("a probe is HEAD, or HEAD and GET")),
            },
        })
    }
}

#[inline]
fn methods(names: &[Text]) -> Result<Vec<Method>, ConfigError> {
    let method = |name: &Text| Method::from_bytes(name.as_bytes());
    names.iter().map(method).collect::<Result<_, _>>().map_err(|_| ConfigError::invalid("a method's name is not valid"))
}
