//! Proof by a JSON web token, signed with a shared secret or with a key that its issuer publishes.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::delivery::Signed;
#[cfg(feature = "testing")]
use crate::encoding::Encoding;
use crate::headers::single;
use crate::json::Object;
use crate::jwt::{self, Algorithm, Backend, Jwks, LONGEST_TOKEN, TimeRules, Token, bearer, check_claim, malformed};
use crate::mac::{Mac, MacKind};
use crate::provider::{MaybeReady, Recognition};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{KeyPrint, Keys, KeysFor};
#[cfg(feature = "testing")]
use crate::sign::SignError;
use crate::text::Text;
use crate::time::Tolerance;

use super::builder::SchemeBuilder;
use super::form::{Fields, Unverified};
use super::proof::{Judged, Proof};
#[cfg(feature = "testing")]
use super::sign::{Signer, Unsigned, insert, unfit};
use super::template::Values;

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

#[derive(Clone)]
pub(crate) struct JwtProof {
    rules: JwtRules,
    keys: JwtKeys,
}

#[derive(Clone)]
enum JwtKeys {
    Shared(Keys<Mac>),
    Public(Jwks),
}

/// A token that is well formed, of this time and for us, and not yet proven. Boxed, as other proofs are far smaller.
pub(crate) struct ClaimedToken {
    text: Bytes,
    kid: Option<String>,
    claims: Object,
    fresh_for: Option<Duration>,
    now: SystemTime,
}

/// What is known of the signature before the body is.
pub(crate) enum JwtRun {
    /// The shared secret at this position signed.
    Proven(usize, Option<KeyPrint>),
    /// The key may have to be fetched, which waits until everything else is right.
    ToFind(Jwks),
}

impl SchemeBuilder {
    /// A sender that signs with tokens: with the keys of its issuer, or else with the secrets of the builder.
    pub(crate) fn jwt(rules: JwtRules, issuer: Option<Jwks>) -> Self {
        Self::new(move |builder| {
            Backend::prove()?;
            let keys = match &issuer {
                Some(jwks) => {
                    builder.no_secrets()?;
                    JwtKeys::Public(jwks.clone())
                }
                None => {
                    let format = builder.key_format;
                    let key = move |secret: &crate::secrets::Secret| Mac::new(MacKind::Sha256, &secret.key(format)?);
                    JwtKeys::Shared(builder.secrets()?.into_keys(key)?)
                }
            };
            builder.form(JwtProof { rules: rules.clone(), keys })
        })
    }
}

impl JwtProof {
    pub(super) fn is_bearer(&self) -> bool {
        self.rules.header == AUTHORIZATION
    }

    fn text<'a>(&self, head: &'a Parts) -> Result<&'a [u8], Rejection> {
        let header = &self.rules.header;
        if self.is_bearer() {
            return bearer(head, header);
        }
        Ok(single(head, header, LONGEST_TOKEN)?.ok_or_else(|| jwt::missing(header))?.as_bytes())
    }

    /// Checks whether the token speaks of this body.
    fn check_hash(&self, token: &ClaimedToken, body: &[u8]) -> Result<(), Rejection> {
        let Some(name) = self.rules.body_hash else { return Ok(()) };
        let digest = hex::encode(Sha256::digest(body));
        match token.claims.parse::<String>(name) {
            Some(hash) if hash.as_bytes().ct_eq(digest.as_bytes()).into() => Ok(()),
            // A request without a body needs no hash of it.
            None if body.is_empty() && !token.claims.contains(name) => Ok(()),
            _ => Err(Rejection::new(Reason::BodyMismatch)
                .with_detail(format!("its SHA-256 is not the one in the claim `{name}`"))),
        }
    }
}

fn proven(text: &[u8], keys: &KeysFor<Mac>) -> Result<JwtRun, Rejection> {
    let matched = Token::split(text)?.verify_hs256(&keys.ring);
    if !keys.known {
        return Err(Reason::UnknownTenant.into());
    }
    matched.map(|index| JwtRun::Proven(index, keys.ring.print(index)))
}

impl Proof for JwtProof {
    type Offer = Box<ClaimedToken>;
    type Keys = JwtRun;
    type Progress = ();

    fn recognizes(&self, head: &Parts) -> Recognition {
        head.headers.contains_key(&self.rules.header).into()
    }

    fn recognizes_body(&self, _: &Parts, _: &[u8]) -> bool {
        false
    }

    fn covers(&self, fields: &Fields, _: bool) -> Signed {
        let body = self.rules.body_hash.is_some();
        Signed {
            body,
            timestamp: self.rules.times.issued.is_some(),
            id: self.rules.id_claim.is_some() || (body && fields.id.is_some()),
            event: body && fields.event.is_some(),
            ..Signed::default()
        }
    }

    fn covers_of(&self, mut signed: Signed, read: &Unverified) -> Signed {
        signed.timestamp &= read.timestamp.is_some();
        signed.id &= self.rules.id_claim.is_none() || read.id.is_some();
        signed
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        self.rules.times.issued.as_mut()
    }

    fn fresh_for(&self, token: &Box<ClaimedToken>) -> Option<Duration> {
        token.fresh_for
    }

    fn read(&self, head: &Parts, now: SystemTime, read: &mut Unverified) -> Result<Box<ClaimedToken>, Rejection> {
        let rules = &self.rules;
        let text = Bytes::copy_from_slice(self.text(head)?);
        let token = Token::split(&text)?;
        let kid = token.header(rules.algorithm)?.kid;
        let claims = token.claims()?;
        let times = rules.times.check(&claims, now)?;
        for (name, allowed) in &rules.expected {
            check_claim(&claims, name, allowed)?;
        }
        if let Some(name) = rules.must_be_true.iter().find(|name| claims.parse::<bool>(name) != Some(true)) {
            return Err(Rejection::new(Reason::NotForUs).with_detail(format!("the token's {name} is not true")));
        }
        let fresh_for = rules.times.fresh_for(&times, now);
        read.timestamp = times.issued.map(|issued| (Text::default(), issued));
        read.id = rules.id_claim.and_then(|name| claims.parse::<String>(name)).map(Text::from);
        Ok(Box::new(ClaimedToken { kid, claims, text, fresh_for, now }))
    }

    /// A shared secret settles the token here, before the body is read.
    fn start(&self, token: &Box<ClaimedToken>, values: &Values<'_>) -> Judged<JwtRun> {
        let keys = match &self.keys {
            JwtKeys::Public(jwks) => return Ok(JwtRun::ToFind(jwks.clone()).into()),
            JwtKeys::Shared(keys) => keys,
        };
        match keys.find(values.head, None) {
            MaybeReady::Ready(keys) => proven(&token.text, &keys).map(Into::into),
            MaybeReady::Pending(keys) => {
                let text = token.text.clone();
                Ok(MaybeReady::pending(async move { proven(&text, &keys.await?) }))
            }
        }
    }

    fn finish(
        &self,
        token: &Box<ClaimedToken>,
        keys: &JwtRun,
        (): &mut (),
        values: &Values<'_>,
        _: &[u8],
    ) -> Judged<usize> {
        self.check_hash(token, values.body)?;
        match keys {
            JwtRun::Proven(index, _) => Ok(MaybeReady::Ready(*index)),
            JwtRun::ToFind(jwks) => {
                let kid = token.kid.as_deref().ok_or_else(|| malformed("it names no key"))?;
                let found = jwks.find(kid, self.rules.algorithm, token.now)?;
                let text = token.text.clone();
                Ok(MaybeReady::pending(async move {
                    let key = found.wait().await?;
                    Token::split(&text)?.verify_public(&key)?;
                    Ok(0)
                }))
            }
        }
    }

    fn key_print(&self, keys: &JwtRun, _: usize) -> Option<KeyPrint> {
        match keys {
            JwtRun::Proven(_, print) => *print,
            JwtRun::ToFind(_) => None,
        }
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        let body = match self.rules.body_hash {
            Some(claim) => format!("the body's SHA-256 in the claim `{claim}`"),
            None => "which leaves the body unsigned".to_owned(),
        };
        format!("JWT {:?} in `{}`, {body}", self.rules.algorithm, self.rules.header)
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> Option<Result<(), SignError>> {
        let sign = |message: &[u8]| match (&self.keys, signer) {
            (JwtKeys::Shared(keys), Signer::Secret) => {
                let keys = keys.fixed().ok_or_else(|| SignError::new("its secrets are looked up"))?;
                Ok(keys.first().of(message).as_bytes().to_vec())
            }
            (JwtKeys::Public(_), Signer::PrivateKey(key)) => {
                let signature = key(message)?;
                if self.rules.algorithm == Algorithm::ES256 {
                    return fixed(&signature).ok_or_else(unfit);
                }
                Ok(signature)
            }
            _ => Err(unfit()),
        };
        match (&self.keys, signer) {
            (JwtKeys::Shared(_), Signer::Secret) | (JwtKeys::Public(_), Signer::PrivateKey(_)) => {
                Some(self.sign_token(request, sign))
            }
            _ => None,
        }
    }
}

#[cfg(feature = "testing")]
impl JwtProof {
    /// A token with all the claims that are looked at, which ends in two hours: `iat` is what ages first.
    fn sign_token(
        &self,
        request: &mut Unsigned<'_>,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SignError>,
    ) -> Result<(), SignError> {
        let rules = &self.rules;
        let since_epoch = request.now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| unfit())?.as_secs();
        let mut claims = serde_json::json!({ "iat": since_epoch, "exp": since_epoch + 7200 });
        let values = rules.expected.iter().map(|(name, values)| (*name, values.first().cloned().into()));
        let flags = rules.must_be_true.iter().map(|name| (*name, true.into()));
        let id = rules.id_claim.map(|name| (name, "msg_1".into()));
        let hash = rules.body_hash.map(|name| (name, hex::encode(Sha256::digest(&*request.body)).into()));
        for (name, value) in values.chain(flags).chain(id).chain(hash) {
            claims[name] = value;
        }
        let header = serde_json::json!({ "alg": format!("{:?}", rules.algorithm), "typ": "JWT", "kid": TEST_KID });
        let base64 = |bytes: &[u8]| Encoding::Base64Url.encode(bytes);
        let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let token = format!("{message}.{}", base64(&sign(message.as_bytes())?));
        let value = if self.is_bearer() { format!("Bearer {token}") } else { token };
        insert(request.head, rules.header.clone(), value)
    }
}

/// The id of the key that tests sign with.
#[cfg(feature = "testing")]
pub(crate) const TEST_KID: &str = "test-key";

/// An ECDSA signature in DER as the two numbers of 32 bytes that a token has.
#[cfg(feature = "testing")]
fn fixed(der: &[u8]) -> Option<Vec<u8>> {
    let mut rest = der.get(2..)?;
    let mut out = Vec::new();
    for _ in 0..2 {
        let len = usize::from(*rest.get(1)?);
        let number = rest.get(2..2 + len)?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        out.extend(std::iter::repeat_n(0, 32_usize.checked_sub(number.len())?));
        out.extend_from_slice(number);
        rest = &rest[2 + len..];
    }
    Some(out)
}
