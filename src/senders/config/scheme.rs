//! A sender that is not built in, as data.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Deserialize;

use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, SchemeBuilder};
use crate::secrets::{KeyFormat, Secret};
use crate::text::Text;

use super::place::Place;

/// A sender that is not built in, in the words of [`SchemeBuilder`]: see
/// [`SenderConfig::scheme`](super::SenderConfig::scheme).
///
/// | key | is |
/// |---|---|
/// | `name` | the sender's name, in `snake_case` |
/// | `algorithm` | `hmac_sha256`, `hmac_sha384`, `hmac_sha512`, `hmac_sha1`, `token`, `ed25519`, `ecdsa_p256`, `ecdsa_p384`, `ecdsa_p256_sha1`, `rsa_pkcs1_sha256`, `rsa_pkcs1_sha384`, `rsa_pkcs1_sha512`, `rsa_pss_sha256`, `rsa_pss_sha384` or `rsa_pss_sha512` |
/// | `signature` | a place with its `encoding`; of a `token`, a place |
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
/// for a list of lists: `"list": ", "`; of a signature, `behind` says what ends the id of the key in front of it: `"behind": ":"`. Encodings
/// are `hex`, `hex_any_case`, `base64` and `base64url`, formats `unix_seconds`, `unix_millis` and
/// `rfc3339`.
///
/// A handshake is one of `{"query_echo": "name"}`, `{"header_to_json": {"header": "x-name",
/// "member": "name"}}`, `{"subscribe": "token"}`, `{"allow_origins": ["name"]}`, `{"probe":
/// ["HEAD", "GET"]}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemeConfig {
    name: Text,
    algorithm: Algorithm,
    signature: Place,
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

impl SchemeConfig {
    pub(crate) fn name(&self) -> &Text {
        &self.name
    }

    /// Returns whether the sender signs with a private key.
    pub(crate) fn is_asymmetric(&self) -> bool {
        !matches!(
            self.algorithm,
            Algorithm::HmacSha256 | Algorithm::HmacSha384 | Algorithm::HmacSha512 | Algorithm::HmacSha1 | Algorithm::Token
        )
    }

    /// Returns a builder that lacks the keys and the public URL.
    pub(crate) fn builder(self) -> Result<SchemeBuilder, ConfigError> {
        let at = |key: &'static str| move |error: ConfigError| error.with_setting(key);
        let mut builder = if self.algorithm == Algorithm::Token {
            Scheme::token(self.signature.source().map_err(at("signature"))?)
        } else {
            let mut signature = self.signature.signature().map_err(at("signature"))?;
            for place in self.other_signatures {
                signature = signature.or(place.source().map_err(at("other_signatures"))?);
            }
            self.algorithm.builder().map_err(at("algorithm"))?.signature(signature)
        };
        if let Some(timestamp) = self.timestamp {
            builder = builder.timestamp(timestamp.timestamp().map_err(at("timestamp"))?);
        }
        builder = match (self.signed, self.body_is_not_signed) {
            (Some(template), true) => builder.signed_without_the_body(template),
            (Some(template), false) => builder.signed(template),
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
}

impl Algorithm {
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

impl Question {
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

fn methods(names: &[Text]) -> Result<Vec<Method>, ConfigError> {
    let method = |name: &Text| Method::from_bytes(name.as_bytes());
    names.iter().map(method).collect::<Result<_, _>>().map_err(|_| ConfigError::invalid("a method's name is not valid"))
}
