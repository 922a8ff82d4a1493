//! eBay notifications: a signature and the id of its key in one header. Feature `asymmetric`.

use http::Method;
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Handshake, Scheme, in_header, json, query_parameter};
use crate::secrets::{KeyFormat, Secret};

use super::{PublicKeys, SenderConfig, knowledge};

/// The header of the signature, which is base64 of a JSON object.
const HEADER: &str = "x-ebay-signature";

/// [eBay notifications](https://developer.ebay.com/api-docs/commerce/notification/overview.html). ECDSA with SHA-1, by a key
/// that is looked up by its id (or by keys that were given). Feature `asymmetric`.
///
/// Add [`Handshake::ebay_challenge`] by [`Scheme::with_handshake`] for the challenge that tries the
/// endpoint. No time is signed. In a configuration, `verify_token` and `public_url`, the endpoint's
/// whole address, answer the challenge.
///
/// Header, encoding and SHA-1 are those of the sender's own SDK; that its keys are ECDSA on P-256
/// is known from others.
///
/// Not verified: the rule comes from others who cite the sender. Try it before you rely on it.
///
/// # Errors
///
/// Returns an error if a public key is missing or is not valid.
pub fn ebay(keys: impl Into<PublicKeys>) -> Result<Scheme, ConfigError> {
    let scheme = Scheme::ecdsa_p256_sha1_for_legacy_senders_only()
        .signature(in_header(HEADER, "/signature").base64())
        .key_id(in_header(HEADER, "/kid"))
        .event(json("/metadata/topic"))
        .id(json("/notification/notificationId"));
    keys.into().set(scheme).with_behavior(knowledge::ebay).build("ebay")
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let scheme = ebay(config.take_public_keys()?)?;
    let Some(token) = config.verify_token.take() else { return Ok(scheme) };
    let missing =
        || ConfigError::missing("`public_url`, the endpoint's address, is missing").with_setting("public_url");
    let endpoint = config.public_url.take().ok_or_else(missing)?;
    Ok(scheme.with_handshake(Handshake::ebay_challenge(token, endpoint)?))
}

impl Handshake {
    /// Answers eBay's challenge with the hash of it, of the verification token and of the
    /// endpoint's address, both as they were entered at eBay. Feature `asymmetric`.
    ///
    /// # Errors
    ///
    /// Returns an error if the token is empty.
    pub fn ebay_challenge(
        verification_token: impl Into<Secret>,
        endpoint: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let (token, endpoint) = (verification_token.into().key(KeyFormat::Text)?, endpoint.into());
        let asks = |head: &http::request::Parts| {
            head.method == Method::GET && query_parameter(head, "challenge_code").is_some()
        };
        Ok(Self::head("GET with query `challenge_code`", asks, move |head| {
            let code = query_parameter(head, "challenge_code").unwrap_or_else(|| Ok(String::new()))?;
            if code.is_empty() {
                return Err(Rejection::new(Reason::MalformedHeader).with_detail("the challenge is empty"));
            }
            let hash = Sha256::new().chain_update(&code).chain_update(&*token).chain_update(&endpoint).finalize();
            Ok(Answer::object(&[("challengeResponse", &hex::encode(hash))]))
        }))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use crate::scheme::ask;

    use super::*;

    #[test]
    fn a_challenge_is_hashed_with_the_token_and_the_address() {
        let handshake = Handshake::ebay_challenge("token", "https://hooks.example.com/ebay").unwrap();
        let hash = hex::encode(Sha256::digest("codetokenhttps://hooks.example.com/ebay"));
        let answer = format!(r#"{{"challengeResponse":"{hash}"}}"#);
        let get = |uri: &str| http::Request::get(uri);
        assert_eq!(ask(&handshake, get("/ebay?challenge_code=code")), Some(Ok((StatusCode::OK, answer))));
        assert_eq!(ask(&handshake, get("/ebay?challenge_code=")), Some(Err(Reason::MalformedHeader)));
        assert_eq!(ask(&handshake, get("/ebay")), None);
        assert!(Handshake::ebay_challenge("", "https://hooks.example.com").is_err());
    }
}
