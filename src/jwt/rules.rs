//! The rules for a genuine token of a scheme.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::encoding::Encoding;
use crate::json::Object;
use crate::rejection::{Reason, Rejection};
#[cfg(feature = "testing")]
use crate::sign::SignError;
use crate::text::Text;
use crate::time::Tolerance;

#[cfg(feature = "certificates")]
use super::ChainRoots;
#[cfg(feature = "testing")]
use super::message;
use super::times::TimeRules;
use super::{Algorithm, Header, Token, malformed};

/// How far clocks may disagree, unless a sender says so itself.
const LEEWAY: Duration = Duration::from_secs(300);

/// What a sender's tokens must be: see [`Scheme::jwt`](crate::Scheme::jwt).
///
/// The algorithm is that of the key; what a token says of it is only compared. `exp`, `nbf` and
/// `iat` are judged wherever they are, with a leeway of 300 seconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::scheme::JwtRules;
/// use tower_webhook::{Encoding, Tolerance};
///
/// let rules = JwtRules::hs256()
///     .with_issuer("acme")
///     .with_body_sha256("body_hash", Encoding::Hex)
///     .with_issued_within(Tolerance::within(Duration::from_secs(300)))
///     .with_id_claim("jti");
/// ```
#[derive(Clone)]
#[must_use]
pub struct JwtRules {
    pub(crate) algorithm: Algorithm,
    pub(crate) times: TimeRules,
    /// The claim that holds the SHA-256 of the body, and how it is written.
    pub(crate) body_hash: Option<(Cow<'static, str>, Encoding)>,
    /// Claims that must have one of these values: whom the token is for, and from.
    expected: Vec<(Cow<'static, str>, Vec<String>)>,
    /// Claims that must be `true`.
    must_be_true: Vec<Cow<'static, str>>,
    /// The claim that names the delivery.
    pub(crate) id_claim: Option<Cow<'static, str>>,
    /// The claim that names the event.
    pub(crate) event_claim: Option<Cow<'static, str>>,
    /// Whether the token holds no claims, but signs what the template says.
    pub(crate) is_detached: bool,
    /// What else one sender demands of its claims.
    check: Option<Arc<CheckClaims>>,
    #[cfg(feature = "certificates")]
    pub(crate) chain: Option<ChainRoots>,
}

type CheckClaims = dyn Fn(&[u8]) -> Result<(), Rejection> + Send + Sync;

/// A token that is well formed, of this time and for us, and not yet proven.
#[derive(Default)]
pub(crate) struct ClaimedToken {
    pub(crate) text: Bytes,
    pub(crate) kid: Option<String>,
    /// The certificates that it brings, if it is to bring any.
    #[cfg_attr(not(feature = "certificates"), allow(dead_code))]
    pub(crate) x5c: Vec<String>,
    pub(crate) issued: Option<SystemTime>,
    pub(crate) id: Option<Text>,
    pub(crate) event: Option<Text>,
    /// For how long a copy of it is taken.
    pub(crate) fresh_for: Option<Duration>,
    pub(crate) claims: Object,
}

macro_rules! algorithms {
    ($($name:ident($algorithm:ident) = $about:literal;)*) => {
        impl JwtRules {$(
            #[doc = concat!("Describes tokens of ", $about)]
            pub fn $name() -> Self {
                Self::new(Algorithm::$algorithm)
            }
        )*}
    };
}

algorithms! {
    hs256(HS256) = "HS256: a shared secret.";
    hs384(HS384) = "HS384: a shared secret.";
    hs512(HS512) = "HS512: a shared secret.";
    rs256(RS256) = "RS256: RSA PKCS#1 v1.5.";
    rs384(RS384) = "RS384: RSA PKCS#1 v1.5.";
    rs512(RS512) = "RS512: RSA PKCS#1 v1.5.";
    ps256(PS256) = "PS256: RSA-PSS.";
    ps384(PS384) = "PS384: RSA-PSS.";
    ps512(PS512) = "PS512: RSA-PSS.";
    es256(ES256) = "ES256: ECDSA on P-256.";
    es384(ES384) = "ES384: ECDSA on P-384.";
    eddsa(EdDSA) = "EdDSA: Ed25519.";
}

impl JwtRules {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            times: TimeRules { leeway: LEEWAY, requires_exp: false, issued: None },
            body_hash: None,
            expected: Vec::new(),
            must_be_true: Vec::new(),
            id_claim: None,
            event_claim: None,
            is_detached: false,
            check: None,
            #[cfg(feature = "certificates")]
            chain: None,
        }
    }

    /// Sets who must have issued a token: its `iss`.
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        self.with_claim("iss", [issuer])
    }

    /// Sets whom a token must be for: its `aud`, or one of them.
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        self.with_claim("aud", [audience])
    }

    /// Requires a claim to be one of these texts.
    pub fn with_claim<T: Into<String>>(
        mut self,
        claim: impl Into<Cow<'static, str>>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        self.expected.push((claim.into(), values.into_iter().map(Into::into).collect()));
        self
    }

    /// Requires a claim to be `true`.
    pub fn with_true_claim(mut self, claim: impl Into<Cow<'static, str>>) -> Self {
        self.must_be_true.push(claim.into());
        self
    }

    /// Sets the claim that holds the SHA-256 of the body. Without one, a token in the head leaves
    /// the body unsigned. A request without a body needs no hash.
    pub fn with_body_sha256(mut self, claim: impl Into<Cow<'static, str>>, encoding: Encoding) -> Self {
        self.body_hash = Some((claim.into(), encoding));
        self
    }

    /// Sets the claim that names the delivery.
    pub fn with_id_claim(mut self, claim: impl Into<Cow<'static, str>>) -> Self {
        self.id_claim = Some(claim.into());
        self
    }

    /// Sets the claim that names the event.
    pub fn with_event_claim(mut self, claim: impl Into<Cow<'static, str>>) -> Self {
        self.event_claim = Some(claim.into());
        self
    }

    /// Requires `iat`, and sets how far from now it may be.
    pub fn with_issued_within(mut self, tolerance: Tolerance) -> Self {
        self.times.issued = Some(tolerance);
        self
    }

    /// Requires `exp`.
    pub fn with_required_expiry(mut self) -> Self {
        self.times.requires_exp = true;
        self
    }

    /// Sets how far the sender's clock and ours may disagree. The default is 300 seconds.
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.times.leeway = leeway;
        self
    }

    /// Describes tokens whose second part is empty, and stands for what the
    /// [template](crate::scheme::SchemeBuilder::signed) says (RFC 7515, appendix F). By default
    /// that is the body. There are no claims then.
    pub fn with_detached_payload(mut self) -> Self {
        self.is_detached = true;
        self
    }

    /// Verifies with the key of the first certificate that a token brings in `x5c`, if the others
    /// lead from it to one of these roots. It is the only case in which a token brings its key.
    /// Feature `certificates`, which `sns` and `paypal` enable.
    #[cfg(feature = "certificates")]
    pub fn with_chain_to(mut self, roots: ChainRoots) -> Self {
        self.chain = Some(roots);
        self
    }

    /// Demands something else of the claims.
    #[cfg(feature = "certificates")]
    pub(crate) fn with_check(mut self, check: impl Fn(&[u8]) -> Result<(), Rejection> + Send + Sync + 'static) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Returns whether the tokens are signed with a shared secret.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
    }

    pub(crate) fn brings_certificates(&self) -> bool {
        #[cfg(feature = "certificates")]
        let brings = self.chain.is_some();
        #[cfg(not(feature = "certificates"))]
        let brings = false;
        brings
    }

    /// Reads a token of at most this length.
    pub(crate) fn read(&self, text: &[u8], longest: usize, now: SystemTime) -> Result<ClaimedToken, Rejection> {
        let text = Bytes::copy_from_slice(text);
        let token = Token::split_within(&text, longest)?;
        let Header { kid, x5c } = token.header_with(self.algorithm, self.brings_certificates())?;
        if self.is_detached {
            if !token.is_detached() {
                return Err(malformed("the token's second part is not empty"));
            }
            return Ok(ClaimedToken { text, kid, x5c, ..ClaimedToken::default() });
        }
        let claims = token.claims()?;
        let times = self.times.check(&claims, now)?;
        for (name, allowed) in &self.expected {
            check_claim(&claims, name, allowed)?;
        }
        if let Some(name) = self.must_be_true.iter().find(|name| claims.parse::<bool>(name) != Some(true)) {
            return Err(Rejection::new(Reason::NotForUs).with_detail(format!("the token's {name} is not true")));
        }
        if let Some(check) = &self.check {
            check(claims.text())?;
        }
        let text_of = |name: &Option<Cow<'static, str>>| claims.parse::<String>(name.as_ref()?).map(Text::from);
        let (id, event) = (text_of(&self.id_claim), text_of(&self.event_claim));
        let fresh_for = self.times.fresh_for(&times, now);
        Ok(ClaimedToken { text, kid, x5c, issued: times.issued, id, event, fresh_for, claims })
    }

    /// Checks whether the token speaks of this body.
    pub(crate) fn check_hash(&self, token: &ClaimedToken, body: &[u8]) -> Result<(), Rejection> {
        let Some((name, encoding)) = &self.body_hash else { return Ok(()) };
        let digest = encoding.encode(&Sha256::digest(body));
        match token.claims.parse::<String>(name) {
            Some(hash) if hash.as_bytes().ct_eq(digest.as_bytes()).into() => Ok(()),
            // A request without a body needs no hash of it.
            None if body.is_empty() && !token.claims.contains(name) => Ok(()),
            _ => Err(Rejection::new(Reason::BodyMismatch)
                .with_detail(format!("its SHA-256 is not the one in the claim `{name}`"))),
        }
    }

    /// Writes a token as the sender would, with all the claims that are looked at. It ends in two
    /// hours: `iat` is what ages first. What a token in a body says besides is in `own`; the
    /// payload of a detached one is given.
    #[cfg(feature = "testing")]
    pub(crate) fn sign(
        &self,
        own: &[u8],
        body: &[u8],
        detached: Option<&[u8]>,
        now: SystemTime,
        chain: Option<Vec<String>>,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SignError>,
    ) -> Result<String, SignError> {
        let before_1970 = |_| SignError::new("the time lies before 1970");
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).map_err(before_1970)?.as_secs();
        let mut claims = serde_json::from_slice(own)
            .ok()
            .filter(serde_json::Value::is_object)
            .unwrap_or_else(|| serde_json::Value::Object(serde_json::Map::new()));
        let times = [("iat", since_epoch.into()), ("exp", (since_epoch + 7200).into())];
        let values = self.expected.iter().map(|(name, values)| (&**name, values.first().cloned().into()));
        let flags = self.must_be_true.iter().map(|name| (&**name, true.into()));
        let is_lacking = self.id_claim.as_ref().filter(|name| claims.get(&***name).is_none());
        let id = is_lacking.map(|name| (&**name, "msg_1".into()));
        let hash = self.body_hash.as_ref();
        let hash = hash.map(|(name, encoding)| (&**name, encoding.encode(&Sha256::digest(body)).into()));
        for (name, value) in times.into_iter().chain(values).chain(flags).chain(id).chain(hash) {
            claims[name] = value;
        }
        let mut header = serde_json::json!({ "alg": format!("{:?}", self.algorithm), "typ": "JWT", "kid": TEST_KID });
        if let Some(chain) = chain.filter(|_| self.brings_certificates()) {
            header["x5c"] = chain.into();
        }
        let claims = claims.to_string();
        let message = message(&header.to_string(), detached.unwrap_or(claims.as_bytes()));
        let signature = Encoding::Base64Url.encode(&sign(message.as_bytes())?);
        Ok(match (detached, message.split_once('.')) {
            (Some(_), Some((header, _))) => format!("{header}..{signature}"),
            _ => format!("{message}.{signature}"),
        })
    }
}

impl std::fmt::Debug for JwtRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtRules").field("algorithm", &self.algorithm).finish_non_exhaustive()
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
