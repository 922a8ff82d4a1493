//! The rules for a genuine token of a scheme.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

#[cfg(feature = "testing")]
use crate::encoding::Encoding;
use crate::headers::single;
use crate::json::Object;
use crate::rejection::{Reason, Rejection};
#[cfg(feature = "testing")]
use crate::sign::SignError;
use crate::text::Text;

#[cfg(feature = "testing")]
use super::message;
use super::times::TimeRules;
use super::{Algorithm, LONGEST_TOKEN, Token, bearer, malformed, missing};

/// How a token is found and judged.
#[derive(Clone)]
pub(crate) struct JwtRules {
    /// `Authorization: Bearer`, or the whole value of another header.
    pub(crate) header: HeaderName,
    pub(crate) algorithm: Algorithm,
    pub(crate) times: TimeRules,
    /// The claim that holds the SHA-256 of the body in lower-case hexadecimal.
    pub(crate) body_hash: Option<&'static str>,
    /// Claims that must have one of these values: whom the token is for, and from.
    pub(crate) expected: Vec<(&'static str, Vec<String>)>,
    /// Claims that must be `true`.
    pub(crate) must_be_true: &'static [&'static str],
    /// The claim that names the delivery.
    pub(crate) id_claim: Option<&'static str>,
}

/// A token that is well formed, of this time and for us, and not yet proven.
#[derive(Default)]
pub(crate) struct ClaimedToken {
    pub(crate) text: Bytes,
    pub(crate) kid: Option<String>,
    pub(crate) issued: Option<SystemTime>,
    pub(crate) id: Option<Text>,
    /// For how long a copy of it is taken.
    pub(crate) fresh_for: Option<Duration>,
    claims: Object,
}

impl JwtRules {
    pub(crate) fn is_bearer(&self) -> bool {
        self.header == AUTHORIZATION
    }

    /// Returns the token of a request.
    pub(crate) fn read(&self, head: &Parts, now: SystemTime) -> Result<ClaimedToken, Rejection> {
        let text = if self.is_bearer() {
            bearer(head, &self.header)?
        } else {
            single(head, &self.header, LONGEST_TOKEN)?.ok_or_else(|| missing(&self.header))?.as_bytes()
        };
        let text = Bytes::copy_from_slice(text);
        let token = Token::split(&text)?;
        let kid = token.header(self.algorithm)?.kid;
        let claims = token.claims()?;
        let times = self.times.check(&claims, now)?;
        for (name, allowed) in &self.expected {
            check_claim(&claims, name, allowed)?;
        }
        if let Some(name) = self.must_be_true.iter().find(|name| claims.parse::<bool>(name) != Some(true)) {
            return Err(Rejection::new(Reason::NotForUs).with_detail(format!("the token's {name} is not true")));
        }
        let id = self.id_claim.and_then(|name| claims.parse::<String>(name)).map(Text::from);
        let fresh_for = self.times.fresh_for(&times, now);
        Ok(ClaimedToken { text, kid, issued: times.issued, id, fresh_for, claims })
    }

    /// Checks whether the token speaks of this body.
    pub(crate) fn check_hash(&self, token: &ClaimedToken, body: &[u8]) -> Result<(), Rejection> {
        let Some(name) = self.body_hash else { return Ok(()) };
        let digest = hex::encode(Sha256::digest(body));
        match token.claims.parse::<String>(name) {
            Some(hash) if hash.as_bytes().ct_eq(digest.as_bytes()).into() => Ok(()),
            // A request without a body needs no hash of it.
            None if body.is_empty() && !token.claims.contains(name) => Ok(()),
            _ => Err(Rejection::new(Reason::BodyMismatch)
                .with_detail(format!("its SHA-256 is not the one in the claim `{name}`"))),
        }
    }

    /// Writes a token as the sender would, with all the claims that are looked at. It ends in two
    /// hours: `iat` is what ages first.
    #[cfg(feature = "testing")]
    pub(crate) fn sign(
        &self,
        body: &[u8],
        now: SystemTime,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SignError>,
    ) -> Result<String, SignError> {
        let before_1970 = |_| SignError::new("the time lies before 1970");
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).map_err(before_1970)?.as_secs();
        let mut claims = serde_json::json!({ "iat": since_epoch, "exp": since_epoch + 7200 });
        let values = self.expected.iter().map(|(name, values)| (*name, values.first().cloned().into()));
        let flags = self.must_be_true.iter().map(|name| (*name, true.into()));
        let id = self.id_claim.map(|name| (name, "msg_1".into()));
        let hash = self.body_hash.map(|name| (name, hex::encode(Sha256::digest(body)).into()));
        for (name, value) in values.chain(flags).chain(id).chain(hash) {
            claims[name] = value;
        }
        let header = serde_json::json!({ "alg": format!("{:?}", self.algorithm), "typ": "JWT", "kid": TEST_KID });
        let message = message(&header.to_string(), &claims.to_string());
        let signature = sign(message.as_bytes())?;
        let scheme = if self.is_bearer() { "Bearer " } else { "" };
        Ok(format!("{scheme}{message}.{}", Encoding::Base64Url.encode(&signature)))
    }
}

/// The id of the key that tests sign with.
#[cfg(feature = "testing")]
pub(crate) const TEST_KID: &str = "test-key";

/// Checks that a claim has one of these values. `aud` may be an array of which one has it (RFC
/// 7519, section 4.1.3).
fn check_claim(claims: &Object, name: &str, allowed: &[String]) -> Result<(), Rejection> {
    let values = match claims.parse::<String>(name) {
        Some(value) => vec![value],
        None if name == "aud" => claims.parse(name).unwrap_or_default(),
        None => Vec::new(),
    };
    if values.is_empty() {
        return Err(malformed(format!("the token's {name} is missing, or is not a text")));
    }
    if values.iter().any(|value| allowed.contains(value)) {
        return Ok(());
    }
    Err(Rejection::new(Reason::NotForUs).with_detail(format!("the token's {name} is not the configured one")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_wrong_is_named_and_an_audience_may_be_one_of_several() {
        let check = |claims: &str, name| {
            let claims = Object::read(&Bytes::copy_from_slice(claims.as_bytes())).unwrap();
            check_claim(&claims, name, &["a".to_owned(), "b".to_owned()]).map_err(|rejection| {
                assert!(
                    rejection.to_string().contains(name) && !rejection.to_string().contains("secret"),
                    "{rejection}"
                );
                rejection.reason()
            })
        };
        let (wrong, malformed) = (Err(Reason::NotForUs), Err(Reason::MalformedSignature));
        for (claims, name, verdict) in [
            (r#"{"aud":"b"}"#, "aud", Ok(())),
            (r#"{"aud":["x","b"]}"#, "aud", Ok(())),
            (r#"{"aud":["secret"]}"#, "aud", wrong),
            (r#"{"aud":"secret"}"#, "aud", wrong),
            (r#"{"aud":[]}"#, "aud", malformed),
            (r#"{"aud":["a",1]}"#, "aud", malformed),
            (r#"{"aud":{"a":"a"}}"#, "aud", malformed),
            ("{}", "aud", malformed),
            (r#"{"iss":"a"}"#, "iss", Ok(())),
            (r#"{"iss":["a"]}"#, "iss", malformed),
            (r#"{"email":"secret"}"#, "email", wrong),
        ] {
            assert_eq!(check(claims, name), verdict, "{claims}");
        }
    }
}
